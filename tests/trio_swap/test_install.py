"""install_trio(): when it works, when it refuses, and what it leaves alone."""

from __future__ import annotations

import pytest

from ._helpers import IS_SWAPPED, SWAP


def test_it_swaps(programs):
    output = programs.bare(
        f"""
        import sys
        {SWAP}
        assert "trio" not in sys.modules
        import trio
        assert {IS_SWAPPED}
        assert trio.run.__module__ == "trio"

        async def main():
            await trio.sleep(0)
            return type(trio.lowlevel.current_task())

        assert trio.run(main) is trio_asyncio_c.lowlevel.Task
        print(trio.__version__.rpartition(".")[0])
        """
    )
    assert output.startswith("0.")


def test_without_it_both_packages_stand_side_by_side(programs):
    programs.bare(
        f"""
        import trio, trio_asyncio_c
        assert not {IS_SWAPPED}

        async def main(package):
            await package.sleep(0)
            return package

        assert trio.run(main, trio) is trio
        assert trio_asyncio_c.trio.run(main, trio_asyncio_c) is trio_asyncio_c
        """
    )


def test_the_order_of_imports_does_not_matter_otherwise(programs):
    programs.bare(
        f"""
        import trio_asyncio_c
        from trio_asyncio_c import lowlevel, trio as own, testing, abc, to_thread
        own.run(own.sleep, 0)
        trio_asyncio_c.install_trio()
        import trio
        assert {IS_SWAPPED}
        trio.run(own.sleep, 0)
        own.run(trio.sleep, 0)
        """
    )


def test_a_trio_that_was_imported_before_is_refused(programs):
    programs.bare(
        """
        import sys, trio
        import trio_asyncio_c

        before = list(sys.meta_path)
        for _ in range(2):
            try:
                trio_asyncio_c.install_trio()
            except RuntimeError as exc:
                assert str(exc).startswith(
                    "trio was imported before install_trio() was called: call it first"
                ), exc
                assert "python -m trio_asyncio_c --trio" in str(exc)
            else:
                raise AssertionError
        assert sys.meta_path == before
        trio.run(trio.sleep, 0)
        """
    )


def test_called_twice_is_called_once(programs):
    programs.swapped(
        """
        import sys
        before = list(sys.meta_path)
        trio_asyncio_c.install_trio()
        assert sys.meta_path == before
        trio.run(trio.sleep, 0)
        """
    )


@pytest.mark.parametrize("inherit", [False, True])
def test_children_inherit_it_on_demand(programs, inherit):
    programs.bare(
        f"""
        import os, trio_asyncio_c
        trio_asyncio_c.install_trio(inherit={inherit})
        assert os.environ.get("TRIO_ASYNCIO_C_TRIO") == {"1" if inherit else None!r}
        """
    )


def test_inherit_can_be_added_later(programs):
    programs.swapped(
        """
        import os
        trio_asyncio_c.install_trio(inherit=True)
        assert os.environ["TRIO_ASYNCIO_C_TRIO"] == "1"
        """
    )


def test_no_trio_is_an_error_that_says_so(programs):
    programs.bare(
        """
        import importlib.metadata, sys

        def version(name):
            raise importlib.metadata.PackageNotFoundError(name)

        importlib.metadata.version = version
        import trio_asyncio_c

        before = list(sys.meta_path)
        try:
            trio_asyncio_c.install_trio()
        except ModuleNotFoundError as exc:
            assert exc.name == "trio"
            assert "there is no package 'trio'" in str(exc)
            assert "install it" in str(exc)
            assert exc.__suppress_context__
        else:
            raise AssertionError
        assert sys.meta_path == before
        # The package itself does not need it.
        trio_asyncio_c.trio.run(trio_asyncio_c.sleep, 0)
        """
    )


@pytest.mark.parametrize("version", ["0.22.2", "0.99.0", "1.0", "1", "35.0.1"])
def test_another_version_is_an_error_that_names_those_that_fit(programs, version):
    programs.bare(
        f"""
        import importlib.metadata, sys
        importlib.metadata.version = lambda name: {version!r}
        import trio_asyncio_c

        before = list(sys.meta_path)
        try:
            trio_asyncio_c.install_trio()
        except ImportError as exc:
            assert exc.name == "trio"
            assert not isinstance(exc, ModuleNotFoundError)
            assert "Trio {version} does not fit" in str(exc), exc
            assert "0.35" in str(exc)
        else:
            raise AssertionError
        assert sys.meta_path == before
        import trio  # still possible
        assert not {IS_SWAPPED}
        """
    )


def test_other_versions_numbers_of_a_minor_version_that_fits_fit(programs):
    programs.bare(
        f"""
        import importlib.metadata
        importlib.metadata.version = lambda name: "0.35.99+local"
        {SWAP}
        import trio
        assert {IS_SWAPPED}
        """
    )


def test_other_finders_and_reloads_of_submodules_work(programs):
    programs.swapped(
        """
        import importlib, inspect, pkgutil, sys
        import trio._core._run as module

        assert module is sys.modules["trio._core._run"] is trio._core._run
        assert module.__spec__.name == "trio._core._run"
        assert module.__package__ == "trio._core"
        assert "trio_asyncio_c" in module.__file__
        assert importlib.util.find_spec("trio._core._run").origin == module.__file__
        assert "start_guest_run" in inspect.getsource(module)
        assert "_run" in {info.name for info in pkgutil.iter_modules(trio._core.__path__)}
        """
    )


def test_import_from_several_threads_at_once(programs):
    programs.bare(
        f"""
        import threading
        {SWAP}
        barrier = threading.Barrier(8)
        seen = []

        def work():
            barrier.wait()
            import trio
            seen.append(trio.run(main, trio))

        async def main(trio):
            await trio.sleep(0)
            return {IS_SWAPPED}

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [True] * 8
        """
    )


def test_the_standard_library_is_left_as_it_is(programs):
    programs.bare(
        f"""
        import asyncio, builtins, collections.abc, concurrent.futures, contextlib
        import contextvars, functools, inspect, io, logging, os, pickle, queue, select
        import selectors, signal, socket, ssl, subprocess, sys, threading, types
        import importlib.metadata, importlib.util, weakref
        import asyncio.base_events, asyncio.runners, asyncio.unix_events

        # That package loads it at the first look, and keeps it.
        concurrent.futures.ThreadPoolExecutor

        NAMES = ("asyncio", "concurrent", "socket", "ssl", "select", "selectors",
                 "signal", "threading", "contextvars", "contextlib", "inspect", "os",
                 "subprocess", "types", "builtins", "functools", "queue", "io",
                 "collections", "importlib", "weakref", "pickle", "logging")

        def snapshot():
            seen = {{}}
            for name, module in list(sys.modules.items()):
                if name.partition(".")[0] not in NAMES:
                    continue
                for key, value in list(vars(module).items()):
                    seen[name, key] = value
                    if isinstance(value, type) and value.__module__ == name:
                        for inner, member in list(vars(value).items()):
                            seen[name, key, inner] = member
            for key in ("excepthook", "unraisablehook", "displayhook", "breakpointhook"):
                seen["sys", key] = getattr(sys, key)
            seen["hooks"] = sys.get_asyncgen_hooks()
            seen["interrupt"] = signal.getsignal(signal.SIGINT)
            return seen

        # Tables of what was seen so far, and what is set while in use.
        CHANGING = {{"_abc_impl", "__warningregistry__", "__annotations_cache__",
                    "__annotate__", "__annotate_func__", "__doc__"}}
        before = snapshot()
        {SWAP}
        import trio, trio.testing

        async def main():
            await trio.to_thread.run_sync(len, "")
            async with trio_asyncio_c.open_loop():
                await trio_asyncio_c.run_asyncio(asyncio.sleep, 0)

        trio.run(main)
        after = snapshot()
        changed = [
            key for key, value in before.items()
            if key[-1] not in CHANGING and (key not in after or (
                after[key] is not value and not isinstance(value, (int, str, tuple))
                or after[key] != value and isinstance(value, (int, str, tuple))))
        ]
        assert changed == [], changed
        added = [
            key for key in after
            if key not in before and key[:2] not in (("builtins", "_"),)
            and key[-1] not in CHANGING
            and not isinstance(after[key], types.ModuleType)
            and sys.modules[key[0]] is not None and (key[0], "__name__") in before
        ]
        assert added == [], added
        """
    )


def test_policy_and_loop_class_are_not_touched(programs):
    programs.swapped(
        """
        import asyncio, warnings

        async def main():
            return type(asyncio.get_running_loop()).__module__

        assert asyncio.run(main()).startswith("asyncio.")
        """
    )
