"""Wake-up calls."""

import gc

import trio
from trio.testing import wait_all_tasks_blocked

from supervisors.signals import Signals, Watch


async def test_a_call_wakes_all_who_watch_its_key_and_nobody_else(nursery: trio.Nursery) -> None:
    signals, woken = Signals(), set()

    async def listen(name: str, watch: Watch) -> None:
        await watch.wait()
        woken.add(name)

    for name, keys in {"a": ("a",), "both": ("a", "b"), "b": ("b",)}.items():
        nursery.start_soon(listen, name, signals.watch(*keys))
    await wait_all_tasks_blocked()
    signals.notify("a")
    await wait_all_tasks_blocked()
    assert woken == {"a", "both"}
    nursery.cancel_scope.cancel()


async def test_a_call_before_the_wait_is_not_lost(autojump_clock: trio.abc.Clock) -> None:
    signals = Signals()
    watch = signals.watch("a")
    signals.notify("a")
    with trio.fail_after(1):
        await watch.wait()


async def test_ten_calls_while_busy_are_one(autojump_clock: trio.abc.Clock) -> None:
    signals = Signals()
    watch = signals.watch("a")
    for _ in range(10):
        signals.notify("a")
    await watch.wait()
    with trio.move_on_after(1) as scope:
        await watch.wait()
    assert scope.cancelled_caught


def test_a_watch_that_is_dropped_needs_no_goodbye() -> None:
    signals = Signals()
    watch = signals.watch("a", "b")
    assert signals.statistics() == {"watches": 2}
    del watch
    gc.collect()
    assert signals.statistics() == {"watches": 0}
    signals.notify("a")


def test_calling_a_key_that_nobody_watches_is_harmless() -> None:
    Signals().notify("a")
