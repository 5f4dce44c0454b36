"""Ports for runners."""

import socket

import pytest

from supervisors.engines.protocol import EngineError
from supervisors.ports import PortPool
from tests.harness.ports import free_port


def _run_of_three() -> int:
    """Return the first of three free ports in a row."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return first


def test_ports_come_from_the_range_and_never_twice() -> None:
    first = _run_of_three()
    pool = PortPool(first, first + 2)
    assert [pool.reserve() for _ in range(3)] == [first, first + 1, first + 2]


def test_an_exhausted_range_says_which_settings_to_widen() -> None:
    first = _run_of_three()
    pool = PortPool(first, first)
    pool.reserve()
    with pytest.raises(EngineError, match=r"BACKEND_PORT_START\.\.BACKEND_PORT_END"):
        pool.reserve()


def test_a_port_that_was_given_back_rests_for_as_long_as_possible() -> None:
    first = _run_of_three()
    pool = PortPool(first, first + 2)
    pool.release(pool.reserve())
    assert [pool.reserve() for _ in range(3)] == [first + 1, first + 2, first]


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    first = _run_of_three()
    with socket.create_server(("127.0.0.1", first)):
        assert PortPool(first, first + 2).reserve() == first + 1


def test_a_held_port_is_not_given_out() -> None:
    first = _run_of_three()
    pool = PortPool(first, first + 2)
    pool.hold(first)
    assert pool.reserve() == first + 1
    assert repr(pool) == f"<PortPool {first}..{first + 2}, 2 reserved>"


def test_giving_back_what_was_never_taken_is_harmless() -> None:
    PortPool(1, 2).release(5)
