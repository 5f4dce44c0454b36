"""The gate of parallel starts."""

import trio
from trio.testing import wait_all_tasks_blocked

from supervisors.runners.gate import StartGate


class _Starter:
    """Something that starts: it takes a slot, and keeps it until told to go on."""

    def __init__(self, gate: StartGate) -> None:
        self.places: list[int] = []
        self.inside = False
        self.go_on = trio.Event()
        self.scope = trio.CancelScope()
        self._gate = gate

    async def run(self) -> None:
        with self.scope:
            async with self._gate.slot(self.places.append):
                self.inside = True
                await self.go_on.wait()


async def test_starts_up_to_the_limit_go_through_without_waiting(nursery: trio.Nursery) -> None:
    gate = StartGate(2)
    starters = [_Starter(gate) for _ in range(2)]
    for starter in starters:
        nursery.start_soon(starter.run)
    await wait_all_tasks_blocked()
    assert [s.inside for s in starters] == [True, True]
    assert [s.places for s in starters] == [[], []]
    assert gate.statistics() == {"free": 0, "waiting": 0}


async def test_the_others_are_let_in_first_come_first_served_and_know_their_place(nursery: trio.Nursery) -> None:
    gate = StartGate(1)
    starters = [_Starter(gate) for _ in range(4)]
    for starter in starters:
        nursery.start_soon(starter.run)
        await wait_all_tasks_blocked()
    assert [s.places for s in starters] == [[], [1], [2], [3]]
    starters[0].go_on.set()
    await wait_all_tasks_blocked()
    assert [s.inside for s in starters] == [True, True, False, False]
    assert [s.places for s in starters] == [[], [1], [2, 1], [3, 2]]


async def test_who_gives_up_waiting_makes_the_queue_shorter(nursery: trio.Nursery) -> None:
    gate = StartGate(1)
    starters = [_Starter(gate) for _ in range(3)]
    for starter in starters:
        nursery.start_soon(starter.run)
        await wait_all_tasks_blocked()
    starters[1].scope.cancel()
    await wait_all_tasks_blocked()
    assert starters[2].places == [2, 1]
    starters[0].go_on.set()
    await wait_all_tasks_blocked()
    assert starters[2].inside


async def test_who_gives_up_at_the_moment_of_being_let_in_loses_no_slot(nursery: trio.Nursery) -> None:
    gate = StartGate(1)
    first, second = _Starter(gate), _Starter(gate)
    for starter in (first, second):
        nursery.start_soon(starter.run)
        await wait_all_tasks_blocked()
    first.go_on.set()
    second.scope.cancel()
    await wait_all_tasks_blocked()
    assert gate.statistics() == {"free": 1, "waiting": 0}


async def test_a_start_that_fails_gives_its_slot_back() -> None:
    gate = StartGate(1)
    try:
        async with gate.slot(lambda _: None):
            raise ValueError
    except ValueError:
        pass
    assert gate.statistics() == {"free": 1, "waiting": 0}
