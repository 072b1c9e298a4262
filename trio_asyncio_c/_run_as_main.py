"""Running a program as Python itself runs the one on its command line.

The program's code runs in the module ``__main__`` that the interpreter made, emptied
of what was there, and not in a module of its own as with `runpy`: so what it defines
can be pickled, and is still found by what runs at exit and by ``python -i``. Each way
to start a program leaves `sys.argv`, `sys.path` and the module's ``__file__`` and its
like as Python does.
"""

from __future__ import annotations

import io
import linecache
import os
import pkgutil
import runpy
import sys
import textwrap
from importlib.machinery import (
    BuiltinImporter,
    SourceFileLoader,
    SourcelessFileLoader,
)
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType

__all__ = ["run_command", "run_module", "run_path", "run_stdin", "run_to_end"]


def _empty_main() -> dict[str, Any]:
    """Give the module ``__main__`` back the look of its first day; its namespace."""
    namespace = sys.modules["__main__"].__dict__
    fresh: dict[str, Any] = dict.fromkeys(("__doc__", "__package__", "__spec__"))
    fresh["__name__"] = "__main__"
    fresh["__loader__"] = BuiltinImporter
    fresh["__builtins__"] = namespace["__builtins__"]
    if sys.version_info < (3, 14):
        fresh["__annotations__"] = {}
    namespace.clear()
    namespace.update(fresh)
    return namespace


def _set_first_path(path: str) -> None:
    """Set what Python puts first in `sys.path` according to the program."""
    if not sys.flags.safe_path:
        sys.path[0] = path  # it was the current folder, for our own -m


def _run_code(code: CodeType, file: str | None, loader: Any = BuiltinImporter) -> None:
    namespace = _empty_main()
    namespace["__loader__"] = loader
    if file is not None:
        namespace["__file__"] = file
        if sys.version_info < (3, 15):
            namespace["__cached__"] = None
    exec(code, namespace)


def _compile(source: str | bytes, filename: str) -> CodeType:
    return compile(source, filename, "exec", dont_inherit=True)


def _fail(message: str, status: int) -> NoReturn:
    print(f"{sys.orig_argv[0]}: {message}", file=sys.stderr)
    sys.exit(status)


def run_module(name: str, *arguments: str) -> None:
    """Do ``python -m name arguments...``."""
    sys.argv = ["-m", *arguments]
    _empty_main()
    # What the interpreter itself calls, by this name, for its own -m.
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def run_command(source: str, *arguments: str) -> None:
    """Do ``python -c source arguments...``."""
    sys.argv = ["-c", *arguments]
    _set_first_path("")
    if sys.version_info >= (3, 14):
        source = textwrap.dedent(source)
    if sys.version_info >= (3, 13):  # from there on tracebacks show the lines
        lines = [f"{line}\n" for line in source.splitlines()]
        linecache.cache["<string>"] = (len(source), None, lines, "<string>")
    _run_code(_compile(source, "<string>"), None)


def run_stdin(*words: str) -> None:
    """Do ``python - arguments...``: run what comes by the standard input."""
    sys.argv = [*words]
    _set_first_path("")
    if sys.stdin.isatty():
        import code

        code.interact(local=_empty_main(), exitmsg="")
        return
    _run_code(_compile(sys.stdin.buffer.read(), "<stdin>"), "<stdin>")


def _read_script(path: str, file: str) -> tuple[CodeType, Any]:
    """Return a script's code and loader."""
    if path.endswith(".pyc"):
        compiled = SourcelessFileLoader("__main__", file)
        code = compiled.get_code("__main__")
        assert code is not None  # only frozen modules have none
        return code, compiled
    with io.open_code(file) as stream:
        source = stream.read()
    return _compile(source, file), SourceFileLoader("__main__", file)


def run_path(path: str, *arguments: str) -> None:
    """Do ``python path arguments...``: run a file, or a folder or zip file that has a
    ``__main__.py``."""
    sys.argv = [path, *arguments]
    # Python's own way, which leaves dots and links in it.
    file = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    if pkgutil.get_importer(file) is not None:
        if sys.flags.safe_path:
            sys.path.insert(0, file)
        else:
            sys.path[0] = file
        _empty_main()
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    try:
        code, loader = _read_script(path, file)
    except OSError as exc:
        _fail(f"can't open file {file!r}: [Errno {exc.errno}] {exc.strerror}", 2)
    _set_first_path(os.path.dirname(os.path.realpath(file)))
    _run_code(code, file, loader)


def run_to_end(run: Callable[..., None], words: Sequence[str]) -> None:
    """Run a program, and let its error be shown as if it had been started alone.

    Args:
      run: one of the functions above; called with `words`.
    """
    try:
        run(*words)
    except SystemExit:
        raise
    except BaseException as exc:
        _hide_our_frames(exc)
        raise


def _hide_our_frames(exc: BaseException) -> None:
    """Cut the frames that are ours out of an exception that is about to be shown.

    They go into it again on the way out, hence by way of the hook that shows it; what
    the program has made the hook is called by that.
    """
    traceback = exc.__traceback__
    ours = _hide_our_frames.__code__.co_filename
    while traceback is not None and traceback.tb_frame.f_code.co_filename == ours:
        traceback = traceback.tb_next
    hook = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, _: object) -> None:
        sys.excepthook = hook
        if sys.version_info < (3, 12):
            sys.last_traceback = traceback
        hook(kind, value.with_traceback(traceback), traceback)

    sys.excepthook = show
