"""supervisors.engines.docker.daemon: whatever is wrong with the daemon is told in words that help."""

import gc
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisors.engines.docker import exits
from supervisors.engines.docker.daemon import Daemon, RefusedError, translated
from supervisors.engines.docker.exits import Exits
from supervisors.engines.protocol import EngineAwayError, EngineError
from tests.harness.fake_engine import HANG, NO_SPACE, FakeEngine, Routes, version
from tests.supervisors.docker_setup import SOCKET, UNCONNECTED, nothing
from tests.supervisors.home_setup import as_nobody

pytestmark = UNCONNECTED
WELL: Routes = {("GET", "/info"): (200, {"NCPU": 4}), ("GET", "/_ping"): (200, "OK")}
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    """Sweep up here what errors still hold, not in a test that would be blamed for it."""
    yield
    gc.collect()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls take a moment only: what hangs here hangs for ever."""
    defaults = Daemon.new_client.__kwdefaults__
    assert defaults
    monkeypatch.setitem(defaults, "read_seconds", 0.3)


# -- It does not answer -----------------------------------------------------------------------------------


async def test_a_daemon_that_is_not_there_is_told_of_with_its_address_and_what_to_look_at(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/docker.sock"
    with pytest.raises(EngineAwayError) as error:
        await Daemon(host).check()
    assert f"does not answer at {host}" in str(error.value)
    assert "No such file or directory" in str(error.value)
    assert "Is it running" in str(error.value)
    assert "DOCKER_HOST" in str(error.value)


async def test_a_socket_that_nobody_listens_at_any_more_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(EngineAwayError, match=r"Connection refused.*Is it running"):
        await Daemon(f"unix://{path}").check()


async def test_an_address_of_the_network_where_nobody_listens_is_told_of() -> None:
    with pytest.raises(EngineAwayError, match=r"tcp://127\.0\.0\.1:1 \(.*refused.*DOCKER_HOST"):
        await Daemon("tcp://127.0.0.1:1").check()


async def test_a_socket_that_we_may_not_use_is_told_of() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "docker.sock"
        with FakeEngine(path, WELL):
            path.chmod(0)
            with as_nobody(), pytest.raises(EngineAwayError, match=r"Permission denied.*may agent-stack use its"):
                await Daemon(f"unix://{path}").check()


@pytest.mark.parametrize("host", ["ssh://nobody@127.0.0.1:1", "tcp://"])
async def test_an_address_that_cannot_be_used_is_told_of(host: str) -> None:
    with pytest.raises(EngineAwayError, match="is DOCKER_HOST right"):
        await Daemon(host).check()


async def test_a_daemon_that_comes_later_is_found(tmp_path: Path) -> None:
    daemon = Daemon(f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineAwayError):
        await daemon.check()
    assert repr(daemon).endswith("not connected>")
    with FakeEngine(tmp_path / "docker.sock", WELL):
        await daemon.check()
        assert daemon.cpus == 4
        assert repr(daemon).endswith(" connected>")
        daemon.close()
        await daemon.check()
    assert daemon.calls == 3


@pytest.mark.parametrize("path", ["/info", "/_ping"])
async def test_a_daemon_that_hangs_counts_as_away_and_does_not_hold_up_what_comes_after(
    tmp_path: Path, impatient: None, path: str
) -> None:
    with FakeEngine(tmp_path / "docker.sock", {**WELL, ("GET", path): HANG}) as fake:
        daemon = Daemon(fake.url)
        with pytest.raises(EngineAwayError, match="does not answer"):
            await daemon.check()
        fake.routes["GET", path] = WELL["GET", path]
        with trio.fail_after(PATIENCE_SECONDS):
            await daemon.check()


# -- It is not what we need -------------------------------------------------------------------------------


@pytest.mark.parametrize("spoken", ["1.24", "1.40", "1.9"])
async def test_a_daemon_that_is_too_old_is_told_of_with_what_is_needed(tmp_path: Path, spoken: str) -> None:
    with FakeEngine(tmp_path / "docker.sock", {**WELL, ("GET", "/version"): version(spoken)}) as fake:
        with pytest.raises(
            EngineError, match=rf"too old: it speaks API {spoken}, and 1\.41.*Update Docker"
        ) as error:
            await Daemon(fake.url).check()
        assert not isinstance(error.value, EngineAwayError)
        assert fake.requests == ["GET /version"]


@pytest.mark.parametrize("spoken", ["1.41", "1.42", "1.100", "2.0"])
async def test_a_daemon_that_is_newer_is_as_good(tmp_path: Path, spoken: str) -> None:
    with FakeEngine(tmp_path / "docker.sock", {**WELL, ("GET", "/version"): version(spoken)}) as fake:
        await Daemon(fake.url).check()


@pytest.mark.parametrize("answer", [{}, [], {"ApiVersion": ""}, {"ApiVersion": "latest"}, "OK"])
async def test_something_else_that_answers_at_its_address_is_told_of(tmp_path: Path, answer: object) -> None:
    fake = FakeEngine(tmp_path / "docker.sock", {**WELL, ("GET", "/version"): (200, answer)})
    with fake, pytest.raises(EngineError, match="DOCKER_HOST"):
        await Daemon(fake.url).check()


# -- It refuses -------------------------------------------------------------------------------------------


async def test_a_refusal_carries_the_daemons_words_and_its_status(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path / "docker.sock", {**WELL, ("POST", "/containers/create"): NO_SPACE})
    with fake, pytest.raises(RefusedError, match=r"Docker refused: .*no space left on device") as error:
        await Daemon(fake.url).call(lambda client: client.create_container("image"))
    assert error.value.status == 500
    assert "{" not in str(error.value)


async def test_a_call_is_not_made_when_it_was_cancelled_before(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "docker.sock", WELL) as fake:
        with trio.CancelScope() as scope:
            scope.cancel()
            await Daemon(fake.url).check()
        assert fake.requests == []


# -- It is left alone -------------------------------------------------------------------------------------


@pytest.mark.docker
def test_a_stream_of_events_that_was_given_up_while_it_was_being_opened_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening, go, over = threading.Event(), threading.Event(), threading.Event()
    new_client = Daemon.new_client
    streams: list[Any] = []

    def slow(daemon: Daemon, **options: Any) -> Any:
        client = new_client(daemon, **options)
        if options:  # It is the one for events.
            opening.set()
            go.wait(PATIENCE_SECONDS)
            events = client.events

            def opened(**filters: Any) -> Any:
                streams.append(events(**filters))
                return streams[-1]

            client.events = opened
        return client

    def watched(*args: Any) -> Any:
        try:
            return translated(*args)
        finally:
            over.set()

    async def give_up() -> None:
        async with trio.open_nursery() as nursery:
            daemon = Daemon(SOCKET)
            nursery.start_soon(Exits(daemon, "none").run, nothing)
            while not opening.is_set():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        daemon.close()

    monkeypatch.setattr(Daemon, "new_client", slow)
    monkeypatch.setattr(exits, "translated", watched)
    trio.run(give_up)
    go.set()
    assert over.wait(PATIENCE_SECONDS)
    response = streams[0]._response
    try:
        assert response.raw.closed
    finally:
        response.close()
