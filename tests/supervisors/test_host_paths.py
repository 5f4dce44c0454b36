"""supervisors.engines.docker.host_paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.engines.docker.daemon import Daemon, RefusedError
from supervisors.engines.docker.host_paths import HostPaths, _translated, find_host_paths
from supervisors.engines.protocol import EngineAwayError, EngineError

OWN_ID = "1" * 64
OTHER_ID = "2" * 64
ON_A_HOST = f"""\
25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
30 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
41 30 0:40 / /var/lib/docker/overlay2/{OTHER_ID}/merged rw,relatime - overlay overlay rw
"""
IN_A_CONTAINER = f"""\
153 60 0:42 / / ro,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A
170 153 254:0 /var/lib/docker/containers/{OWN_ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw
171 153 254:0 /var/lib/docker/containers/{OWN_ID}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw
172 153 254:0 /var/lib/docker/containers/{OWN_ID}/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
"""
SHARED_MEMORY_OF_ANOTHER = f"""\
48 30 0:42 / /var/lib/docker/containers/{OTHER_ID}/mounts/shm rw,nosuid,nodev shared:4 - tmpfs shm rw,size=65536k
"""
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
PLAIN = HostPaths(Path("/data"), Path("/data"))
ELSEWHERE = HostPaths(Path("/data"), Path("/srv/stack"))
HOME = Path("/data/users/ann/demo")


class Answers:
    """Stands for the daemon: it answers every call with the same thing."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self._answer = answer
        self.calls = 0

    async def call(self, function: Callable[..., Any]) -> Any:
        del function
        self.calls += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def daemon(self) -> Daemon:
        return cast(Daemon, self)


def mount(source: str, destination: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Destination": destination, "RW": True}


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | OSError], None]:
    """Return how to say what this process has mounted."""

    def says(text: str | OSError) -> None:
        def read_text(path: Path, **_: Any) -> str:
            assert str(path) == "/proc/self/mountinfo"
            if isinstance(text, OSError):
                raise text
            return text

        monkeypatch.setattr(Path, "read_text", read_text)

    return says


# -- Translation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/data/users/ann/demo", "/srv/stack/users/ann/demo"),
        ("/data", "/srv/stack"),
        ("/database/x", "/database/x"),
        ("/srv/other", "/srv/other"),
        ("/srv/stack/users/ann", "/srv/stack/users/ann"),
    ],
)
def test_what_lies_in_the_data_folder_has_another_path_on_the_host(path: str, seen: str) -> None:
    assert ELSEWHERE.on_host(Path(path)) == Path(seen)


@given(parts=st.lists(NAMES, max_size=4))
def test_on_the_host_itself_no_path_changes(parts: list[str]) -> None:
    path = Path("/data", *parts)
    assert PLAIN.on_host(path) == path


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("{home}/workspace", "/srv/stack/users/ann/demo/workspace"),
        ("{home}/a/b", "/srv/stack/users/ann/demo/a/b"),
        ("/data/shared/skills", "/srv/stack/shared/skills"),
        ("/data/shared", "/srv/stack/shared"),
        ("/srv/stack/shared/skills", "/srv/stack/shared/skills"),
        ("/data/users/bob/files", "/srv/stack/users/bob/files"),
        ("/opt/tools", "/opt/tools"),
        ("/srv/stackable", "/srv/stackable"),
    ],
)
def test_a_source_may_lie_in_the_home_in_the_shared_folder_or_outside_of_the_data_folder(
    source: str, seen: str
) -> None:
    assert ELSEWHERE.source(source, HOME) == Path(seen)


@pytest.mark.parametrize("paths", [PLAIN, ELSEWHERE])
@pytest.mark.parametrize("below", ["", "/secrets", "/secrets/instance", "/events.db", "/runners", "/usersx", "/.x"])
def test_what_holds_the_log_or_secrets_is_never_mounted_by_either_of_its_paths(
    paths: HostPaths, below: str
) -> None:
    for root in (paths.data_root, paths.host_root):
        with pytest.raises(EngineError, match=f"cannot be mounted.*put it into {root / 'shared'}"):
            paths.source(f"{root}{below}", HOME)


@pytest.mark.parametrize("source", ["/srv", "/"])
def test_what_contains_the_data_folder_is_never_mounted(source: str) -> None:
    with pytest.raises(EngineError, match="cannot be mounted"):
        ELSEWHERE.source(source, HOME)


# -- Finding it out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        ([("/srv/stack", "/data")], "/srv/stack"),
        ([("/var/lib/docker/volumes/x/_data", "/data")], "/var/lib/docker/volumes/x/_data"),
        ([("/srv", "/"), ("/fast", "/data")], "/fast"),
        ([("/fast", "/data"), ("/srv", "/")], "/fast"),
        ([("/srv", "/")], "/srv/data"),
        ([("/srv/secrets", "/data/secrets"), ("/srv/stack", "/data")], "/srv/stack"),
        ([("/var/run/docker.sock", "/var/run/docker.sock")], None),
        ([("/srv", "/dat")], None),
        ([], None),
    ],
)
def test_the_innermost_mount_that_holds_the_data_folder_tells_where_the_host_has_it(
    mounts: list[tuple[str, str]], found: str | None
) -> None:
    assert _translated(Path("/data"), [mount(*m) for m in mounts]) == (Path(found) if found else None)


def test_a_data_folder_deep_in_a_mount_is_found_there() -> None:
    assert _translated(Path("/app/var/data"), [mount("/srv/app", "/app")]) == Path("/srv/app/var/data")


async def test_a_host_path_that_was_set_is_taken_without_asking_anybody() -> None:
    answers = Answers({})
    assert await find_host_paths(answers.daemon(), Path("/data"), Path("/srv")) == HostPaths(
        Path("/data"), Path("/srv")
    )
    assert answers.calls == 0


@pytest.mark.parametrize("text", [ON_A_HOST, "", PermissionError("no")])
async def test_on_a_host_the_data_folder_is_where_it_is(
    mounted: Callable[[str | OSError], None], text: str | OSError
) -> None:
    mounted(text)
    answers = Answers({})
    assert await find_host_paths(answers.daemon(), Path("/data"), None) == PLAIN
    assert answers.calls == 0


async def test_in_a_container_the_mounts_of_that_container_are_asked_for(
    mounted: Callable[[str | OSError], None],
) -> None:
    mounted(IN_A_CONTAINER)
    answers = Answers({"Mounts": [mount("/srv/stack", "/data")]})
    assert await find_host_paths(answers.daemon(), Path("/data"), None) == ELSEWHERE


async def test_in_a_container_without_a_volume_it_is_said_what_to_mount_or_set(
    mounted: Callable[[str | OSError], None],
) -> None:
    mounted(IN_A_CONTAINER)
    with pytest.raises(EngineError, match=r"/data is not on a volume.*HOST_STACK_ROOT"):
        await find_host_paths(Answers({"Mounts": []}).daemon(), Path("/data"), None)


async def test_a_container_that_the_daemon_does_not_know_is_told_what_to_set(
    mounted: Callable[[str | OSError], None],
) -> None:
    mounted(IN_A_CONTAINER)
    with pytest.raises(EngineError, match="HOST_STACK_ROOT"):
        await find_host_paths(Answers(RefusedError(404, "No such container")).daemon(), Path("/data"), None)


async def test_a_daemon_that_does_not_answer_is_not_taken_for_an_answer(
    mounted: Callable[[str | OSError], None],
) -> None:
    mounted(IN_A_CONTAINER)
    with pytest.raises(EngineAwayError):
        await find_host_paths(Answers(EngineAwayError("away")).daemon(), Path("/data"), None)


async def test_a_host_that_runs_others_containers_is_not_taken_for_one_of_them(
    mounted: Callable[[str | OSError], None],
) -> None:
    mounted(ON_A_HOST + SHARED_MEMORY_OF_ANOTHER)
    assert await find_host_paths(Answers({"Mounts": []}).daemon(), Path("/data"), None) == PLAIN


async def test_a_container_that_sees_the_mounts_of_others_finds_its_own(
    mounted: Callable[[str | OSError], None],
) -> None:
    mounted(SHARED_MEMORY_OF_ANOTHER + IN_A_CONTAINER)
    asked: list[str] = []

    class Client:
        def inspect_container(self, name: str) -> dict[str, Any]:
            asked.append(name)
            return {"Mounts": [mount("/srv/stack", "/data")]}

    class Asked(Answers):
        async def call(self, function: Callable[..., Any]) -> Any:
            return function(Client())

    assert await find_host_paths(Asked({}).daemon(), Path("/data"), None) == ELSEWHERE
    assert asked == [OWN_ID]
