"""Programs in which trio, trio_asyncio_c and asyncio are used together."""

from __future__ import annotations

import pytest


def test_a_loop_opened_under_trio_run(programs):
    programs.swapped(
        """
        import asyncio

        async def main():
            async with trio_asyncio_c.open_loop() as loop:
                assert asyncio.get_running_loop() is loop
                assert await trio_asyncio_c.run_asyncio(asyncio_side, 1) == 3
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(trio_asyncio_c.run_asyncio, asyncio.sleep, 0)
                        nursery.start_soon(trio.sleep, 0.001)
                with trio.move_on_after(0.01) as scope:
                    await trio_asyncio_c.run_asyncio(asyncio.sleep, 1000)
                assert scope.cancelled_caught
            return "done"

        async def asyncio_side(x):
            await asyncio.sleep(0.001)
            return await trio_asyncio_c.run_trio(trio_side, x + 1)

        async def trio_side(x):
            await trio.sleep(0.001)
            return await trio.to_thread.run_sync(lambda: x + 1)

        assert trio.run(main) == "done"
        assert trio_asyncio_c.run(main) == "done"
        """
    )


def test_trios_things_on_an_own_asyncio_loop(programs):
    programs.swapped(
        """
        import asyncio

        async def wait(event, lock, channel):
            async with lock:
                await event.wait()
            await channel.send("from trio")
            return await trio.to_thread.run_sync(str, 5)

        async def main():
            loop = asyncio.get_running_loop()
            event, lock = trio.Event(), trio.Lock()
            send, receive = trio.open_memory_channel(1)
            future = loop.run_trio(wait, event, lock, send)
            other = loop.run_trio(receive.receive)
            await asyncio.sleep(0.001)
            event.set()
            assert await other == "from trio"
            assert await future == "5"
            cancelled = loop.run_trio(trio.sleep_forever)
            await asyncio.sleep(0)
            cancelled.cancel()
            try:
                await cancelled
            except asyncio.CancelledError:
                pass
            send.close(), receive.close()

        with asyncio.Runner(loop_factory=trio_asyncio_c.new_event_loop) as runner:
            runner.run(main())
        """
    )


def test_own_asyncio_loops_are_let_go_of(programs):
    """Trio's generator hooks keep those that they found, out of the collector's
    sight."""
    programs.swapped(
        """
        import asyncio, gc

        async def generate():
            yield 1
            yield 2

        async def use():
            generator = generate()
            async for item in generator:
                break
            return generator

        async def main():
            loop = asyncio.get_running_loop()
            await loop.run_trio(trio.sleep, 0)
            generators.append(await use())
            generators.append(await loop.run_trio(use))

        for _ in range(3):
            generators = []
            with asyncio.Runner(loop_factory=trio_asyncio_c.new_event_loop) as runner:
                runner.run(main())
            for generator in generators:
                try:
                    generator.asend(None).send(None)
                except StopAsyncIteration:
                    pass
                else:
                    raise AssertionError("it is not closed")
            del runner, generator
            generators.clear()
            gc.collect()
            counts = trio_asyncio_c._core._debug_counts()
            assert not any(counts.values()), counts
        """
    )


def test_each_packages_names_in_the_others_run(programs):
    programs.swapped(
        """
        from trio_asyncio_c import trio as own
        import trio_asyncio_c.testing, trio.testing

        async def main(here, there):
            with here.move_on_after(0.005) as scope:
                await there.sleep(1000)
            assert scope.cancelled_caught
            async with here.open_nursery() as nursery:
                event = there.Event()
                nursery.start_soon(event.wait)
                await there.testing.wait_all_tasks_blocked()
                event.set()
            try:
                with here.fail_after(0.001):
                    await there.sleep_forever()
            except here.TooSlowError:
                pass
            send, receive = there.open_memory_channel(0)
            async with here.open_nursery() as nursery:
                nursery.start_soon(send.send, 1)
                assert await receive.receive() == 1
            send.close()
            try:
                await receive.receive()
            except trio.EndOfChannel:
                pass
            receive.close()
            assert here.lowlevel.current_task() is there.lowlevel.current_task()
            # Each package knows its own threads; the token says it for both.
            assert await here.to_thread.run_sync(here.from_thread.run_sync, len, "ab") == 2
            token = here.lowlevel.current_trio_token()
            assert 2 == await here.to_thread.run_sync(
                lambda: there.from_thread.run_sync(len, "ab", trio_token=token))

        for run in trio.run, own.run:
            run(main, trio, own)
            run(main, own, trio)
            run(main, trio, own, clock=trio.testing.MockClock(autojump_threshold=0))
            run(main, trio, own, clock=own.testing.MockClock(autojump_threshold=0))
        """
    )


def test_exceptions_are_caught_by_either_packages_names(programs):
    programs.swapped(
        """
        import sys
        import trio_asyncio_c as own

        async def fail(cls):
            raise cls("text")

        for name in ("BrokenResourceError", "BusyResourceError", "ClosedResourceError",
                     "EndOfChannel", "RunFinishedError", "WouldBlock"):
            for here, there in (trio, own), (own, trio):
                try:
                    trio.run(fail, getattr(here, name))
                except getattr(there, name) as exc:
                    assert str(exc) == "text"

        async def main():
            with own.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.sleep(1)
                except own.Cancelled:
                    raise
            assert scope.cancelled_caught
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fail, own.BrokenResourceError)
            except* trio.BrokenResourceError as group:
                assert len(group.exceptions) == 1

        trio.run(main)
        own.trio.run(main)

        class Clock(own.abc.Clock):
            def start_clock(self):
                raise KeyError

            def current_time(self):
                return 0.0

            def deadline_to_sleep_time(self, deadline):
                return 0.0

        sys.unraisablehook = lambda unraisable: None
        for run in trio.run, own.trio.run:
            for error in trio.TrioInternalError, own.TrioInternalError:
                try:
                    run(trio.sleep, 0, clock=Clock())
                except error:
                    pass
        """
    )


def test_protection_of_either_package_counts_in_the_others_run(programs):
    programs.swapped(
        """
        import signal
        from trio_asyncio_c import lowlevel, trio as own
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def protectors():
            yield trio.lowlevel
            yield lowlevel

        async def main():
            for package in protectors():
                @package.enable_ki_protection
                def protected():
                    signal.raise_signal(signal.SIGINT)
                    return [other.currently_ki_protected() for other in protectors()]

                @package.enable_ki_protection
                def outer():
                    for other in protectors():
                        inner = other.disable_ki_protection(lambda: (
                            [p.currently_ki_protected() for p in protectors()]))
                        assert inner() == [False, False]

                assert protected() == [True, True]
                try:
                    await trio.lowlevel.checkpoint()
                except KeyboardInterrupt:
                    pass
                else:
                    raise AssertionError("not delivered")
                outer()
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                return "interrupted"

        for run in trio.run, own.run:
            assert run(main) == "interrupted"
        """
    )


def test_async_generators_of_mixed_programs(programs):
    programs.swapped(
        """
        import asyncio
        closed = []

        async def generator(name, pause):
            try:
                yield 1
            finally:
                if pause is not trio.sleep:
                    await pause(0)
                closed.append(name)

        async def begin(name, pause):
            kept.append(generator(name, pause))
            await anext(kept[-1])

        async def main():
            await begin("trio", trio.sleep)
            async with trio_asyncio_c.open_loop():
                await begin("trio inside", trio.sleep)
                await trio_asyncio_c.run_asyncio(begin, "asyncio", asyncio.sleep)
            assert closed == ["asyncio"], closed

        for run in trio.run, trio_asyncio_c.trio.run:
            kept = []
            closed.clear()
            run(main)
            assert sorted(closed) == ["asyncio", "trio", "trio inside"], closed
        """
    )


@pytest.mark.parametrize("factory", ["None", "trio_asyncio_c.new_event_loop"])
def test_a_guest_run_of_trio_on_asyncio(programs, factory):
    programs.swapped(
        f"""
        import asyncio, socket

        async def guest(event):
            a, b = trio.socket.socketpair()
            with a, b:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(b.send, b"x")
                    assert await a.recv(1) == b"x"
            await event.wait()
            assert trio.lowlevel.in_trio_task()
            await trio.to_thread.run_sync(len, "")
            return "guest"

        async def main():
            loop = asyncio.get_running_loop()
            for package in trio.lowlevel, trio_asyncio_c.lowlevel:
                done = loop.create_future()
                event = trio.Event()
                package.start_guest_run(
                    guest,
                    event,
                    run_sync_soon_threadsafe=loop.call_soon_threadsafe,
                    run_sync_soon_not_threadsafe=loop.call_soon,
                    done_callback=done.set_result,
                    host_uses_signal_set_wakeup_fd=True,
                )
                await asyncio.sleep(0.01)
                assert asyncio.get_running_loop() is loop
                event.set()
                outcome = await done
                assert type(outcome).__module__ == "outcome", outcome
                assert outcome.unwrap() == "guest"

        with asyncio.Runner(loop_factory={factory}) as runner:
            runner.run(asyncio.wait_for(main(), 40))
        """
    )


def test_subclasses_of_trios_abstract_classes_serve_both(programs):
    programs.swapped(
        """
        from trio_asyncio_c import abc, trio as own
        import time

        def make(base_clock, base_instrument):
            class Clock(base_clock):
                def start_clock(self): pass
                def current_time(self): return time.monotonic()
                def deadline_to_sleep_time(self, deadline):
                    return deadline - time.monotonic()

            class Look(base_instrument):
                steps = 0
                def before_task_step(self, task):
                    assert isinstance(task, trio.lowlevel.Task)
                    self.steps += 1

            return Clock(), Look()

        for bases in (abc.Clock, abc.Instrument), (trio.abc.Clock, trio.abc.Instrument):
            for run in trio.run, own.run:
                clock, look = make(*bases)
                run(trio.sleep, 0.001, clock=clock, instruments=[look])
                assert look.steps > 2
        """
    )


def test_runs_in_several_threads_at_once(programs):
    programs.swapped(
        """
        import asyncio, threading
        barrier = threading.Barrier(4, timeout=40)
        seen = []

        async def main(i):
            await trio.to_thread.run_sync(barrier.wait)
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            with trio.move_on_after(0.005):
                await trio.sleep_forever()
            async with trio_asyncio_c.open_loop():
                await trio_asyncio_c.run_asyncio(asyncio.sleep, 0)
            seen.append(trio.lowlevel.current_root_task())

        runs = [trio.run, trio_asyncio_c.trio.run] * 2
        threads = [threading.Thread(target=run, args=(main, i))
                   for i, run in enumerate(runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(seen)) == 4
        """
    )
