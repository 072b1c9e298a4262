"""python -m trio_asyncio_c, the environment variable, and the pytest plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ._helpers import (
    IS_SWAPPED,
    PACKAGE_PATH,
    STRICT,
    VARIABLE,
    check,
    run_python,
)

LOOK = f"""\
import json, os, sys
import trio
import trio_asyncio_c
print(json.dumps({{
    "swapped": {IS_SWAPPED},
    "argv": sys.argv,
    "path": sys.path[0],
    "name": __name__,
    "file": __file__,
    "main": sys.modules["__main__"].__dict__.get("__file__"),
    "variable": os.environ.get("{VARIABLE}"),
}}))
"""


@pytest.fixture
def command(tmp_path):
    """Run ``python -m trio_asyncio_c`` with some arguments in the test's folder."""

    def run(*arguments, **options):
        options.setdefault("cwd", tmp_path)
        return run_python(*STRICT, "-m", "trio_asyncio_c", *arguments, **options)

    return run


# Scripts and modules


@pytest.mark.parametrize("spelling", ["relative", "absolute", "dotted"])
def test_a_script_runs_as_python_would_run_it(command, programs, tmp_path, spelling):
    script = programs.write(LOOK, "folder/script.py")
    given = {
        "relative": "folder/script.py",
        "absolute": str(script),
        "dotted": "./folder/script.py",
    }[spelling]
    seen = json.loads(check(command("--trio", given, "-x", "--trio", "a b")))
    assert seen["swapped"] is True
    assert seen["argv"] == [given, "-x", "--trio", "a b"]
    assert Path(seen["path"]) == script.parent
    assert seen["name"] == "__main__"
    assert seen["file"] == seen["main"]
    assert Path(seen["file"]) == script
    assert seen["variable"] == "1"


def test_a_script_imports_its_neighbours(command, programs):
    programs.write("VALUE = 5", "folder/neighbour_of_it.py")
    programs.write(
        "import trio, neighbour_of_it\nprint(neighbour_of_it.VALUE)",
        "folder/script.py",
    )
    assert check(command("--trio", "folder/script.py")) == "5\n"


def test_a_module_runs_as_python_would_run_it(command, programs, tmp_path):
    module = programs.write(LOOK, "a_module_of_it.py")
    seen = json.loads(check(command("--trio", "-m", "a_module_of_it", "-m", "x")))
    assert seen["swapped"] is True
    assert [Path(seen["argv"][0]), *seen["argv"][1:]] == [module, "-m", "x"]
    assert Path(seen["path"]) == tmp_path
    assert seen["name"] == "__main__"
    assert Path(seen["file"]) == Path(seen["main"]) == module


def test_a_package_runs_by_its_main_module(command, programs):
    programs.write("", "a_package_of_it/__init__.py")
    main = programs.write(LOOK, "a_package_of_it/__main__.py")
    seen = json.loads(check(command("--trio", "-m", "a_package_of_it")))
    assert seen["swapped"] is True
    assert Path(seen["file"]) == main


def test_a_folder_with_a_main_module_runs(command, programs, tmp_path):
    programs.write(LOOK, "folder/__main__.py")
    seen = json.loads(check(command("--trio", "folder")))
    assert seen["swapped"] is True
    assert Path(seen["path"]) == tmp_path / "folder" or seen["path"] == "folder"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import sys; sys.exit(0)", 0),
        ("import sys; sys.exit(3)", 3),
        ("raise SystemExit", 0),
        ("import trio; trio.run(trio.sleep, 0)", 0),
    ],
)
def test_the_exit_status_is_the_programs(command, programs, source, status):
    result = command("--trio", programs.write(source))
    assert (result.returncode, result.stderr) == (status, "")


def test_an_error_of_the_program_is_shown_and_is_status_1(command, programs):
    script = programs.write(
        """
        import trio

        async def main():
            await trio.sleep(0)
            raise KeyError("of the program")

        trio.run(main)
        """
    )
    result = command("--trio", script)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "KeyError: 'of the program'"
    assert "in main" in result.stderr


def test_what_runs_at_exit_still_finds_the_programs_globals(command, programs):
    script = programs.write(
        """
        import atexit, threading, trio
        event = threading.Event()

        def late():
            event.wait(50)
            print("thread", trio.run(main))

        async def main():
            await trio.sleep(0)
            return "ran"

        atexit.register(lambda: print("exit", trio.run(main)))
        threading.Thread(target=late).start()
        event.set()
        """
    )
    assert check(command("--trio", script)) == "thread ran\nexit ran\n"


# Bad command lines; the others are with the tests of asyncio's programs


@pytest.mark.parametrize("arguments", [["no_such.py"], ["-m", "no_such_module"]])
def test_a_program_that_is_not_there(command, arguments):
    result = command("--trio", *arguments)
    assert result.returncode != 0
    assert "no_such" in result.stderr.splitlines()[-1]


def test_without_trio_the_program_is_not_begun(command, programs):
    programs.write(
        """
        import importlib.metadata

        def version(name):
            raise importlib.metadata.PackageNotFoundError(name)

        importlib.metadata.version = version
        """,
        "sitecustomize.py",
    )
    script = programs.write("print('begun')")
    path = os.pathsep.join([str(programs.folder), str(PACKAGE_PATH)])
    result = command("--trio", script, PYTHONPATH=path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "there is no package 'trio'" in result.stderr


# The environment variable


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An interpreter in whose site-packages the package's .pth file is."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    packages = [path for path in sys.path if path.endswith("site-packages")]
    package = PACKAGE_PATH / "trio_asyncio_c"
    startup = package / "_startup.pth"
    if not startup.exists():
        startup = PACKAGE_PATH / "trio_asyncio_c_startup.pth"
    lines = [str(PACKAGE_PATH), *packages, startup.read_text()]
    Path(site, "trio_asyncio_c.pth").write_text("\n".join(lines))
    return str(python)


IMPORTED = """\
import sys
print(*sorted(name for name in sys.modules if "trio" in name and "startup" not in name))
"""


@pytest.mark.parametrize("value", ["1", "0", "", None])
def test_the_variable_costs_nothing_where_trio_is_not_imported(
    installed, tmp_path, value
):
    variables = {} if value is None else {VARIABLE: value}
    result = run_python(
        *STRICT, "-c", IMPORTED, cwd=tmp_path, python=installed, **variables
    )
    assert check(result) == "\n"


@pytest.mark.parametrize("value", ["1", "0", "", None])
def test_the_variable_swaps_at_the_import_of_trio(installed, tmp_path, value):
    program = f"import trio, trio_asyncio_c; print({IS_SWAPPED})"
    variables = {} if value is None else {VARIABLE: value}
    result = run_python(
        *STRICT, "-c", program, cwd=tmp_path, python=installed, **variables
    )
    assert check(result) == f"{value == '1'}\n"


@pytest.mark.parametrize("option", ["-I", "-s", "-E", "-P"])
def test_the_variable_does_no_harm_to_isolated_processes(installed, tmp_path, option):
    result = run_python(
        *(option, "-c", "import sys; print('up')"),
        cwd=tmp_path,
        python=installed,
        **{VARIABLE: "1"},
    )
    assert check(result) == "up\n"


def test_grandchildren_inherit_it(installed, programs):
    grandchild = f"import trio, trio_asyncio_c; print({IS_SWAPPED})"
    child = f"""
        import subprocess, sys
        assert not any("trio_asyncio_c" == name for name in sys.modules)
        subprocess.run([sys.executable, "-c", {grandchild!r}], check=True)
    """
    script = programs.write(
        f"""
        import subprocess, sys, trio
        print("started", flush=True)
        subprocess.run([sys.executable, {str(programs.write(child))!r}], check=True)

        async def main():
            await trio.run_process([sys.executable, "-c", {grandchild!r}])

        trio.run(main)
        """
    )
    result = run_python(
        *("-m", "trio_asyncio_c", "--trio", script),
        cwd=programs.folder,
        python=installed,
    )
    assert check(result) == "started\nTrue\nTrue\n"


def test_multiprocessing_finds_the_main_module_and_is_swapped(
    installed, command, programs
):
    script = programs.write(
        f"""
        import multiprocessing
        import trio
        import trio_asyncio_c

        def work(x):
            trio.run(trio.sleep, 0)
            return x * 2, {IS_SWAPPED}

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(work, [1, 2]))
        """
    )
    assert (
        check(command("--trio", script, python=installed)) == "[(2, True), (4, True)]\n"
    )


# The pytest plugin

TESTS = f"""
import subprocess, sys
import trio
import trio_asyncio_c

def test_swapped():
    assert {IS_SWAPPED}

def test_run():
    trio.run(trio.sleep, 0)

def test_child():
    program = "import trio, trio_asyncio_c; assert {IS_SWAPPED}"
    subprocess.run([sys.executable, "-c", program], check=True)

def test_that_fails():
    async def main():
        async with trio.open_nursery():
            raise KeyError("seen")
    trio.run(main)
"""


def test_the_pytest_plugin(installed, programs):
    programs.write(TESTS, "test_inner.py")
    result = run_python(
        *("-m", "pytest", "-p", "trio_asyncio_c.pytest_trio"),
        *("-p", "no:cacheprovider", "-q", "-W", "error", "test_inner.py"),
        cwd=programs.folder,
        python=installed,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 failed, 3 passed" in result.stdout
    assert "KeyError: 'seen'" in result.stdout


def test_the_pytest_plugin_comes_too_late(installed, programs):
    programs.write("import trio", "early_plugin.py")
    programs.write(TESTS, "test_inner.py")
    result = run_python(
        *("-m", "pytest", "-p", "early_plugin", "-p", "trio_asyncio_c.pytest_trio"),
        *("-p", "no:cacheprovider", "test_inner.py"),
        cwd=programs.folder,
        python=installed,
    )
    assert result.returncode != 0
    assert "trio was imported before install_trio()" in result.stdout + result.stderr
