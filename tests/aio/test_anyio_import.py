"""How anyio comes to know our backend: by the import of this package, of which nothing
else changes, or by the environment.

Each in a process of its own, for modules stay imported.
"""

from __future__ import annotations

import pytest

from ..trio_swap._helpers import check, run_python
from ..trio_swap.test_command_line import installed  # noqa: F401  (a fixture)
from .test_subinterpreters import PREAMBLE

pytest.importorskip("anyio", reason="the backend is anyio's")

VARIABLES = {
    "TRIO_ASYNCIO_C_TRIO": "",
    "TRIO_ASYNCIO_C_ASYNCIO": "",
    "TRIO_ASYNCIO_C_ANYIO": "",
}

BEGIN = """\
import sys
import trio_asyncio_c
assert not any(name.split(".")[0] == "anyio" for name in sys.modules)

import asyncio

def module_of(scope):
    return type(scope).__module__.partition(".")[0]

async def whose():
    import anyio
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            await anyio.to_thread.run_sync(anyio.from_thread.run_sync, len, "four")
    assert module_of(group.cancel_scope) == module_of(scope)
    return module_of(scope)

def by_asyncio(factory):
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(whose())

def ours():
    return by_asyncio(trio_asyncio_c.new_event_loop)

def asyncios():
    return by_asyncio(asyncio.SelectorEventLoop)

def finders():
    return [f for f in sys.meta_path if f.__module__ == "trio_asyncio_c._install_anyio"]

"""


@pytest.fixture
def output(tmp_path):
    """Run a program, and return what it prints."""

    def run(source, **options):
        options = {"cwd": tmp_path, **VARIABLES, **options}
        return check(run_python("-W", "error", "-c", source, **options))

    return run


def test_the_backends_name_is_enough(output):
    source = BEGIN + (
        "import anyio\n"
        "print(anyio.run(whose, backend='trio_asyncio_c'))\n"
        "from anyio.from_thread import start_blocking_portal\n"
        "with start_blocking_portal('trio_asyncio_c') as portal:\n"
        "    print(portal.call(whose), portal.start_task_soon(whose).result())\n"
    )
    assert output(source) == "trio_asyncio_c\n" + "trio_asyncio_c trio_asyncio_c\n"


def test_all_else_is_as_it_was_until_it_is_installed(output):
    source = BEGIN + (
        "import anyio\n"
        "def all(): return ours(), asyncios(), anyio.run(whose)\n"
        "print(*all())\n"
        "anyio.run(whose, backend='trio_asyncio_c')\n"
        "print(*all())\n"
        "trio_asyncio_c.install_anyio()\n"
        "print(*all())\n"
        "print(anyio.run(whose, backend='trio_asyncio_c'))\n"
        "print(*all())\n"
    )
    without = "anyio anyio anyio\n"
    with_it = "trio_asyncio_c anyio anyio\n"
    assert output(source) == without * 2 + with_it + "trio_asyncio_c\n" + with_it


def test_installed_before_it_is_named(output):
    source = BEGIN + (
        "trio_asyncio_c.install_anyio()\n"
        "import anyio\n"
        "print(anyio.run(whose, backend='trio_asyncio_c'), ours(), asyncios())\n"
    )
    assert output(source) == "trio_asyncio_c trio_asyncio_c anyio\n"


def test_a_loop_of_anyios_inside_of_a_run_by_name(output):
    """Loops of both kinds in two threads at once, without install_anyio()."""
    source = BEGIN + (
        "import anyio\n"
        "async def main():\n"
        "    inside = [await anyio.to_thread.run_sync(f) for f in (ours, asyncios)]\n"
        "    print(await whose(), *inside)\n"
        "anyio.run(main, backend='trio_asyncio_c')\n"
    )
    assert output(source) == "trio_asyncio_c anyio anyio\n"


def test_named_in_several_threads_at_once(output):
    source = BEGIN + (
        "import threading\n"
        "from anyio import run\n"
        "start = threading.Barrier(4)\n"
        "found = []\n"
        "def work(number):\n"
        "    start.wait()\n"
        "    if number == 3: trio_asyncio_c.install_anyio()\n"
        "    found.append(run(whose, backend='trio_asyncio_c'))\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(*found)\n"
    )
    assert output(source) == " ".join(["trio_asyncio_c"] * 4) + "\n"


def test_a_version_that_does_not_fit(output):
    source = BEGIN + (
        "import anyio, importlib.metadata\n"
        "importlib.metadata.version = lambda name: '4.14.0'\n"
        "for _ in range(2):\n"
        "    try: anyio.run(whose, backend='trio_asyncio_c')\n"
        "    except LookupError as error:\n"
        "        print(type(error.__cause__).__name__, error.__cause__)\n"
        "print(asyncios(), 'anyio._backends._trio_asyncio_c' in sys.modules)\n"
    )
    *told, rest = output(source).splitlines()
    assert len(told) == 2
    for line in told:
        assert line.startswith("ImportError anyio 4.14.0 does not fit trio_asyncio_c")
    assert rest == "anyio False"


def test_the_module_is_ours_whoever_imports_it(output):
    source = BEGIN + (
        "import importlib\n"
        "from trio_asyncio_c import _anyio_backend\n"
        "name = 'anyio._backends._trio_asyncio_c'\n"
        "module = sys.modules.pop(name)\n"
        "again = importlib.import_module(name)\n"
        "assert importlib.reload(again) is again is module\n"
        "assert again.backend_class is _anyio_backend.Backend\n"
        "import anyio\n"
        "print(anyio.run(whose, backend='trio_asyncio_c'))\n"
    )
    assert output(source) == "trio_asyncio_c\n"


def test_finders_do_not_stack(output):
    source = BEGIN + (
        "import importlib\n"
        "import trio_asyncio_c._install_anyio as module\n"
        "assert len(finders()) == 1 and sys.meta_path[-1] in finders()\n"
        "behind = type('Behind', (), {'find_spec': staticmethod(lambda *a: None)})\n"
        "sys.meta_path.append(behind)\n"
        "importlib.reload(trio_asyncio_c)\n"
        "importlib.reload(module)\n"
        "del sys.modules[module.__name__]\n"
        "module = importlib.import_module(module.__name__)\n"
        "assert finders() == [module._Finder] == [sys.meta_path[-2]]\n"
        "module.install_anyio()\n"
        "assert finders() == [module._Finder]\n"
        "import anyio\n"
        "print(anyio.run(whose, backend='trio_asyncio_c'))\n"
    )
    assert output(source) == "trio_asyncio_c\n"


def test_a_finder_that_was_removed_is_there_again(output):
    source = BEGIN + (
        "sys.meta_path.remove(*finders())\n"
        "import anyio\n"
        "try: anyio.run(whose, backend='trio_asyncio_c')\n"
        "except LookupError: print('none')\n"
        "trio_asyncio_c.install_anyio()\n"
        "print(anyio.run(whose, backend='trio_asyncio_c'))\n"
    )
    assert output(source) == "none\ntrio_asyncio_c\n"


def test_each_interpreter_has_one_finder(output):
    look = (
        "import sys, trio_asyncio_c\n"
        "from trio_asyncio_c._install_anyio import _Finder\n"
        "assert sys.meta_path.count(_Finder) == 1\n"
        "names = [f for f in sys.meta_path if f.__module__ == _Finder.__module__]\n"
        "assert names == [_Finder]\n"
    )
    source = PREAMBLE + (
        f"look = {look!r}\n"
        "exec(look)\n"
        "for _ in range(2): in_interpreter(look)\n"
        "exec(look)\n"
        "print(len(names))\n"
    )
    assert output(source) == "1\n"


# The environment variable

LOOK = BEGIN.replace("import trio_asyncio_c\n", "").replace(
    "def ours", "import trio_asyncio_c\ndef ours"
)


@pytest.mark.parametrize("value", ["1", "0", ""])
def test_the_variable_installs_at_the_import_of_anyio(
    installed,  # noqa: F811
    output,
    value,
):
    source = LOOK + ("import anyio.abc\nprint(ours(), asyncios(), anyio.run(whose))\n")
    printed = output(source, python=installed, TRIO_ASYNCIO_C_ANYIO=value)
    on_ours = "trio_asyncio_c" if value == "1" else "anyio"
    assert printed == f"{on_ours} anyio anyio\n"


def test_both_variables_put_a_program_on_it(installed, output):  # noqa: F811
    source = LOOK.replace("import trio_asyncio_c\n", "") + (
        "import anyio, subprocess\n"
        "print(anyio.run(whose), asyncio.run(whose()))\n"
        "sys.stdout.flush()\n"
        "child = 'import anyio\\n'\n"
        "child += 'async def main(): return type(anyio.CancelScope()).__module__\\n'\n"
        "child += 'print(anyio.run(main))'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)\n"
    )
    variables = {"TRIO_ASYNCIO_C_ANYIO": "1", "TRIO_ASYNCIO_C_ASYNCIO": "1"}
    printed = output(source, python=installed, **variables)
    ours = "trio_asyncio_c trio_asyncio_c\n"
    assert printed == ours + "trio_asyncio_c._anyio_backend\n"


def test_the_variable_costs_nothing_where_anyio_is_not_imported(
    installed,  # noqa: F811
    output,
):
    source = (
        "import sys\n"
        "print(*sorted(n for n in sys.modules if n in ('asyncio', 'anyio',"
        " 'trio_asyncio_c')))\n"
        "import asyncio\n"
        "print('trio_asyncio_c' in sys.modules)\n"
    )
    printed = output(source, python=installed, TRIO_ASYNCIO_C_ANYIO="1")
    assert printed == "\nFalse\n"


def test_the_variable_where_the_version_does_not_fit(
    installed,  # noqa: F811
    output,
):
    source = (
        "import importlib.metadata\n"
        "importlib.metadata.version = lambda name: '4.14.0'\n"
        "try: import anyio\n"
        "except ImportError as error: print(error)\n"
    )
    printed = output(source, python=installed, TRIO_ASYNCIO_C_ANYIO="1")
    assert printed.startswith("anyio 4.14.0 does not fit trio_asyncio_c")
