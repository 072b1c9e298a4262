"""``python -m trio_asyncio_c``: any asyncio program on the loop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zipfile

import pytest

from ..trio_swap._helpers import STRICT, TIMEOUT_S, Programs, check, make_environment
from ..trio_swap._helpers import run_python as run_plain
from ..trio_swap.test_command_line import installed  # noqa: F401  (a fixture)

DEBUG_VARIABLE = "PYTHONASYNCIODEBUG"
VARIABLES = {"TRIO_ASYNCIO_C_ASYNCIO", DEBUG_VARIABLE}


@pytest.fixture
def programs(tmp_path):
    """Writes programs to a folder."""
    return Programs(tmp_path)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run ``python -m trio_asyncio_c`` with some arguments in the test's folder."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, strict=("-W", "error"), **options):
        options.setdefault("cwd", tmp_path)
        return run_plain(*strict, "-m", "trio_asyncio_c", *arguments, **options)

    return run


# What Python does with a program

SHOW = """\
'''The words of a program.'''
import sys, json, __main__
names = [n for n in ("__file__", "__cached__", "__package__", "__doc__", "__name__")]
seen = {n: globals().get(n, "missing") for n in names}
seen["globals"] = sorted(n for n in globals() if n.startswith("__"))
seen["spec"] = getattr(__spec__, "name", None)
seen["loader"] = re = __loader__ if isinstance(__loader__, type) else type(__loader__)
seen["loader"] = str(seen["loader"])
seen["argv"], seen["path"] = sys.argv, sys.path[0]
seen["main"] = __main__.__dict__ is globals()
print(json.dumps(seen))
"""


def without_addresses(text):
    return re.sub(r"0x[0-9a-f]+", "0x...", text)


def assert_same_as_python(folder, *words, stdin="", status=None, options=()):
    """Run a program by Python and by the command; all that can be seen is alike."""
    results = []
    for how in ([], ["-m", "trio_asyncio_c"]):
        done = subprocess.run(
            [sys.executable, *options, *how, *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=folder,
            env=make_environment(),
            timeout=TIMEOUT_S,
            check=False,
        )
        seen = (done.returncode, done.stdout, done.stderr)
        results.append(tuple(map(without_addresses, map(str, seen))))
    assert results[1] == results[0]
    if status is not None:
        assert results[0][0] == str(status)
    return results[0]


@pytest.mark.parametrize(
    "words",
    [
        ["script.py", "a", "--debug", "-m"],
        ["./script.py"],
        ["folder/../script.py"],
        ["--", "script.py", "--", "x"],
        ["-m", "script", "x", "y"],
        ["-mscript"],
        ["folder", "x"],
        ["./folder"],
        ["-m", "folder", "-h"],
        ["archive.zip", "x"],
        ["-c", SHOW, "x", "-c"],
        ["-c" + SHOW],
        ["-", "x"],
    ],
    ids=lambda words: " ".join(words).replace(SHOW, "SHOW"),
)
@pytest.mark.parametrize("options", [(), ("-P",)], ids=["", "-P"])
def test_a_program_sees_what_python_shows_it(programs, words, options):
    folder = programs.folder
    programs.write(SHOW, "script.py")
    programs.write(SHOW, "folder/__main__.py")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    if "-P" in options and words[0].startswith("-m"):
        pytest.skip("the current folder is not searched")
    assert_same_as_python(folder, *words, stdin=SHOW, status=0, options=options)


def test_a_link_to_a_script_imports_the_scripts_neighbours(programs):
    programs.write("import neighbour; print(__file__)", "real/script.py")
    programs.write("print('here')", "real/neighbour.py")
    (programs.folder / "link.py").symlink_to("real/script.py")
    seen = assert_same_as_python(programs.folder, "link.py", status=0)
    assert seen[1].startswith("here\n")


def test_a_compiled_script(programs):
    programs.write(SHOW, "script.py")
    run = [
        sys.executable,
        "-c",
        "import py_compile as p; p.compile('script.py', 'c.pyc')",
    ]
    subprocess.run(run, check=True, cwd=programs.folder)
    assert_same_as_python(programs.folder, "c.pyc", status=0)


FAILURE = """\
def inner():
    1 / 0
try:
    inner()
except ZeroDivisionError as exc:
    raise KeyError("of the program") from exc
"""
HOOK = """\
import sys
def hook(kind, value, traceback):
    print(kind, value, traceback.tb_frame.f_code.co_name, sys.excepthook is hook)
    print(value.__traceback__ is traceback)
sys.excepthook = hook
raise KeyError
"""
LATER_HOOK = "import asyncio, sys\nasync def f(): raise OSError(3)\nasyncio.run(f())\n"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import sys; sys.exit()", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('in words')", 1),
        ("import sys; sys.exit(['of', 'any'])", 1),
        ("raise SystemExit", 0),
        (FAILURE, 1),
        ("x = = 1", 1),
        ("raise ExceptionGroup('g', [KeyError(1)])", 1),
        ("raise KeyboardInterrupt", None),
        ("raise GeneratorExit", 1),
        (HOOK, 1),
        ("import atexit; atexit.register(print, 'late'); 1 / 0", 1),
    ],
)
@pytest.mark.parametrize("way", ["script.py", "-m", "-c", "-"])
def test_a_program_ends_as_python_ends_it(programs, source, status, way):
    programs.write(source, "script.py")
    words = {"-m": ["-m", "script"], "-c": ["-c", source]}.get(way, [way])
    assert_same_as_python(programs.folder, *words, stdin=source, status=status)


def test_an_error_in_a_coroutine_shows_asyncios_frames_but_none_of_ours(
    command, programs
):
    script = programs.write(LATER_HOOK)
    result = command(script)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert str(script) in lines[1]
    assert "trio_asyncio_c/_run" not in result.stderr
    assert lines[-1] == "OSError: 3"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["no_such.py"], 2),
        (["no/such.py", "x"], 2),
        (["-m", "no_such_module"], 1),
        (["-m", "json.no_such"], 1),
        (["-m", "script.sub"], 1),
        (["empty"], 1),
        (["-m", "empty"], 1),
    ],
    ids=repr,
)
def test_a_program_that_is_not_there(programs, words, status):
    programs.write("VALUE = 1", "script.py")
    programs.write("", "empty/other.py")
    assert_same_as_python(programs.folder, *words, status=status)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_a_script_that_may_not_be_read(programs):
    programs.write("1").chmod(0)
    assert_same_as_python(programs.folder, "program_1.py", status=2)


def test_the_main_module_is_there_to_the_end(command, programs):
    script = programs.write(
        """
        import atexit, pickle, threading, __main__

        class Thing: pass

        def late(who):
            print(who, pickle.loads(pickle.dumps(Thing)) is Thing, __main__.late is late)

        event = threading.Event()
        def wait():
            event.wait(30)
            late("thread")

        atexit.register(late, "exit")
        threading.Thread(target=wait).start()
        event.set()
        """
    )
    assert check(command(script)) == "thread True True\nexit True True\n"


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize("as_module", [False, True], ids=["script", "-m"])
def test_functions_of_the_program_go_to_other_processes(
    command, programs, method, as_module
):
    programs.write(
        f"""
        import asyncio, concurrent.futures, multiprocessing

        def double(number):
            return 2 * number

        async def main():
            context = multiprocessing.get_context({method!r})
            with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
                loop = asyncio.get_running_loop()
                print(type(loop).__module__, await loop.run_in_executor(pool, double, 4))

        if __name__ == "__main__":
            asyncio.run(main())
        """,
        "crowd.py",
    )
    words = ["-m", "crowd"] if as_module else ["crowd.py"]
    # Python warns of forks beside threads, which the executor has.
    assert check(command(*words, strict=())) == "trio_asyncio_c 8\n"


# Ctrl-C

INTERRUPTED = """
    import asyncio, sys

    async def main():
        print("ready", flush=True)
        try:
            await asyncio.sleep(300)
        finally:
            print("cleaned up", flush=True)

    asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["script", "-m"])
def test_ctrl_c_ends_the_program_as_python_does(programs, way):
    programs.write(INTERRUPTED, "script.py")
    words = ["script.py"] if way == "script" else ["-m", "script"]
    with subprocess.Popen(
        # A shell in the background may have the signal ignored.
        [
            *(sys.executable, "-c"),
            "import os, signal, sys; signal.signal(2, signal.default_int_handler);"
            "os.execv(sys.executable, sys.argv[1:])",
            *(sys.executable, "-m", "trio_asyncio_c", *words),
        ],
        cwd=programs.folder,
        env=make_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert out == "cleaned up\n"
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert "trio_asyncio_c/_run_as_main" not in err
    assert process.returncode == -signal.SIGINT


# Wherever a program gets its loop from

IS_OURS = "print(type(loop).__module__, type(loop).__name__, loop.get_debug())\n"
OURS = "trio_asyncio_c EventLoop False\n"
IN_MAIN = f"async def main():\n    loop = asyncio.get_running_loop()\n    {IS_OURS}"
WAYS = {
    "run": IN_MAIN + "asyncio.run(main())",
    "runner": IN_MAIN + "with asyncio.Runner() as r: r.run(main())",
    "new_event_loop": "loop = asyncio.new_event_loop()\n" + IS_OURS + "loop.close()",
    "policy": (
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "loop = asyncio.get_event_loop_policy().new_event_loop()\n"
        + IS_OURS
        + "loop.close()"
    ),
    "no policy": (
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "asyncio.set_event_loop_policy(None)\n" + IN_MAIN + "asyncio.run(main())"
    ),
    "default policy": (
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())\n"
        + IN_MAIN
        + "asyncio.run(main())"
    ),
    "policy subclass": (
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "class Policy(asyncio.DefaultEventLoopPolicy): pass\n"
        "asyncio.set_event_loop_policy(Policy())\n" + IN_MAIN + "asyncio.run(main())"
    ),
    "class as uvicorn": (
        IN_MAIN + "factory = asyncio.SelectorEventLoop\n"
        "with asyncio.Runner(loop_factory=factory) as r: r.run(main())"
    ),
    "isolated test case": (
        "import unittest\n"
        "class T(unittest.IsolatedAsyncioTestCase):\n"
        "    async def test(self):\n"
        "        loop = asyncio.get_running_loop()\n"
        "        assert type(loop).__module__ == 'trio_asyncio_c', loop\n"
        "done = unittest.main(exit=False, argv=['x'], verbosity=0)\n"
        "assert done.result.testsRun == 1 and done.result.wasSuccessful()\n"
        "print('trio_asyncio_c EventLoop False')"
    ),
}
if sys.version_info >= (3, 13):
    WAYS["class"] = "loop = asyncio.EventLoop()\n" + IS_OURS + "loop.close()"
if sys.version_info < (3, 14):
    WAYS["get_event_loop"] = (
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "loop = asyncio.get_event_loop()\n" + IS_OURS + "loop.close()"
    )


@pytest.mark.parametrize("way", list(WAYS))
def test_the_loop_of_a_program_that_names_none(command, programs, way):
    script = programs.write("import asyncio\n" + WAYS[way])
    result = command(script)
    assert result.stdout == OURS, result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize(
    "source",
    [
        "asyncio.run(main())",
        "with asyncio.Runner() as r: r.run(main())",
        "asyncio.new_event_loop().close()",
    ],
)
def test_no_warning_of_policies(command, programs, source):
    script = programs.write("import asyncio\nasync def main(): pass\n" + source)
    assert check(command(script, strict=STRICT)) == ""


@pytest.mark.parametrize(
    "source",
    [
        "with asyncio.Runner(loop_factory=Other) as r: r.run(main())",
        "class Policy(asyncio.DefaultEventLoopPolicy):\n"
        "    def new_event_loop(self): return Other()\n"
        "asyncio.set_event_loop_policy(Policy())\nasyncio.run(main())",
        "class Policy(asyncio.DefaultEventLoopPolicy):\n    _loop_factory = Other\n"
        "asyncio.set_event_loop_policy(Policy())\nasyncio.run(main())",
        "loop = Other()\nloop.run_until_complete(main())\nloop.close()",
    ],
)
def test_a_program_that_names_a_loop_gets_that(command, programs, source):
    script = programs.write(
        "import asyncio, asyncio.unix_events, warnings\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"
        "class Other(asyncio.unix_events.SelectorEventLoop): pass\n" + IN_MAIN + source
    )
    assert check(command(script)) == "__main__ Other False\n"


def test_asyncios_own_repl(command):
    result = subprocess.run(
        [sys.executable, "-m", "trio_asyncio_c", "-m", "asyncio"],
        input="await asyncio.sleep(0, result=40) + 2\nasyncio.get_running_loop()\n",
        capture_output=True,
        text=True,
        env=make_environment(),
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "42" in result.stdout
    assert "<EventLoop running=True" in result.stdout


def test_tests_run_by_unittest_and_pytest(command, programs):
    programs.write(
        """
        import asyncio, unittest

        class Tests(unittest.IsolatedAsyncioTestCase):
            async def test_loop(self):
                loop = asyncio.get_running_loop()
                self.assertEqual(type(loop).__module__, "trio_asyncio_c")
        """,
        "test_inner.py",
    )
    result = command("-m", "unittest", "test_inner")
    assert result.returncode == 0, result.stderr
    result = command("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_inner.py")
    assert "1 passed" in result.stdout


# Debug mode


def test_debug_mode_is_on_in_every_loop_and_process(command, programs):
    script = programs.write(
        f"""
        import asyncio, os, subprocess, sys

        async def main():
            loop = asyncio.get_running_loop()
            {IS_OURS}
        asyncio.run(main())
        loop = asyncio.new_event_loop()
        print(loop.get_debug(), os.environ["{DEBUG_VARIABLE}"])
        loop.close()
        child = "import asyncio; print(asyncio.new_event_loop().get_debug())"
        subprocess.run([sys.executable, "-c", child], check=True)
        """
    )
    expected = "trio_asyncio_c EventLoop True\nTrue 1\nTrue\n"
    assert command("--debug", script, strict=("-u",)).stdout == expected


def test_debug_mode_where_the_environment_is_ignored(programs, tmp_path):
    path = os.path.dirname(make_environment()["PYTHONPATH"].split(os.pathsep)[0] + "/x")
    program = (
        f"import runpy, sys; sys.path.insert(0, {path!r});"
        "sys.argv[1:] = ['--debug', '-c', '1'];"
        "runpy.run_module('trio_asyncio_c', run_name='__main__', alter_sys=True)"
    )
    result = run_plain("-E", "-c", program, cwd=tmp_path)
    assert result.returncode == 2
    assert "--debug works by the environment" in result.stderr


# Other processes


def test_processes_of_the_program_have_the_loop_too(
    installed,  # noqa: F811
    command,
    programs,
):
    script = programs.write(
        """
        import asyncio, multiprocessing, subprocess, sys

        def work(_):
            loop = asyncio.new_event_loop()
            loop.close()
            return type(loop).__module__

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(work, [0]))
            child = "import sys; assert 'asyncio' not in sys.modules; import asyncio;"
            child += "l = asyncio.new_event_loop(); l.close(); print(type(l).__module__)"
            subprocess.run([sys.executable, "-W", "error", "-c", child], check=True)
        """
    )
    result = command(script, python=installed, strict=("-u",))
    assert check(result) == "['trio_asyncio_c']\ntrio_asyncio_c\n"


@pytest.mark.parametrize(
    "first", ["asyncio", "trio_asyncio_c", "trio_asyncio_c.testing", "trio", "anyio"]
)
@pytest.mark.parametrize("variables", ["ASYNCIO", "ASYNCIO TRIO", "ASYNCIO TRIO ANYIO"])
def test_the_variables_hold_whatever_is_imported_first(
    installed,  # noqa: F811
    tmp_path,
    variables,
    first,
):
    pytest.importorskip(first.partition(".")[0])
    names = ("ASYNCIO", "TRIO", "ANYIO")
    values = {
        f"TRIO_ASYNCIO_C_{name}": "1" if name in variables.split() else "0"
        for name in names
    }
    source = (
        f"import {first}, asyncio\n"
        "with asyncio.Runner() as runner: loop = runner.get_loop()\n"
        "print(type(loop).__module__)\n"
    )
    result = run_plain(*STRICT, "-c", source, cwd=tmp_path, python=installed, **values)
    assert check(result) == "trio_asyncio_c\n"


# Help and usage


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(command, option):
    output = check(command(option))
    assert output.startswith("usage: python -m trio_asyncio_c [--debug] SCRIPT")
    for word in ("--trio", "-m MODULE", "-c COMMAND", "--debug", "--help"):
        assert word in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no program is given"),
        (["--debug"], "no program is given"),
        (["--trio"], "no program is given"),
        (["--"], "no program is given after --"),
        (["-m"], "argument expected for the -m option"),
        (["--debug", "-c"], "argument expected for the -c option"),
        (["--trio", "-m"], "argument expected for the -m option"),
        (["--other", "x.py"], "unknown option: --other"),
        (["-x"], "unknown option: -x"),
        (["--trio", "--debug", "x.py"], "--debug is asyncio's"),
    ],
    ids=repr,
)
def test_a_command_line_that_cannot_be_understood(command, words, message):
    result = command(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("usage: ")
    assert result.stderr.splitlines()[-1].startswith(
        f"python -m trio_asyncio_c: {message}"
    )


def test_what_follows_the_program_is_the_programs(command, programs):
    script = programs.write("import json, sys; print(json.dumps(sys.argv[1:]))")
    words = ["--debug", "-h", "--trio", "-m", "--"]
    assert json.loads(check(command(script, *words))) == words
