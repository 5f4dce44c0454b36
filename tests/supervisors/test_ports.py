"""Ports for runners."""

import socket

import pytest

from supervisors.engines.protocol import EngineError
from supervisors.ports import PortPool
from tests.harness.ports import AGENTS_HOST, free_port


def _run_of_three() -> int:
    """Return the first of three free ports in a row."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + 3):
                with socket.socket() as probe:
                    probe.bind((AGENTS_HOST, port))
        except (OSError, OverflowError):
            continue
        return first


def test_an_address_that_the_machine_does_not_have_is_told_of() -> None:
    with pytest.raises(EngineError, match="BACKEND_HOST"):
        PortPool(20000, 20002, ["192.0.2.1"]).reserve()


def test_ports_come_from_the_range_and_never_twice() -> None:
    first = _run_of_three()
    pool = PortPool(first, first + 2, [AGENTS_HOST])
    assert [pool.reserve() for _ in range(3)] == [first, first + 1, first + 2]


def test_an_exhausted_range_says_which_settings_to_widen() -> None:
    first = _run_of_three()
    pool = PortPool(first, first, [AGENTS_HOST])
    pool.reserve()
    with pytest.raises(EngineError, match=r"BACKEND_PORT_START\.\.BACKEND_PORT_END"):
        pool.reserve()


def test_a_port_that_was_given_back_rests_for_as_long_as_possible() -> None:
    first = _run_of_three()
    pool = PortPool(first, first + 2, [AGENTS_HOST])
    pool.release(pool.reserve())
    assert [pool.reserve() for _ in range(3)] == [first + 1, first + 2, first]


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    first = _run_of_three()
    with socket.create_server((AGENTS_HOST, first)):
        assert PortPool(first, first + 2, [AGENTS_HOST]).reserve() == first + 1


def test_a_held_port_is_not_given_out() -> None:
    first = _run_of_three()
    pool = PortPool(first, first + 2, [AGENTS_HOST])
    pool.hold(first)
    assert pool.reserve() == first + 1
    assert repr(pool) == f"<PortPool {first}..{first + 2}, 2 reserved>"


def test_giving_back_what_was_never_taken_is_harmless() -> None:
    PortPool(1, 2, [AGENTS_HOST]).release(5)
