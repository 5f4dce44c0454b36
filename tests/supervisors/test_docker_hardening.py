"""A runner of the Docker engine whose backend declares nothing special is as tight as it can be.

One runner serves for all that is looked at from outside and from inside.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest

from supervisors.engines.protocol import RunnerSpec
from tests.harness import docker
from tests.harness.ports import AGENTS_HOST
from tests.supervisors.docker_setup import POOL, DockerRunners

pytestmark = pytest.mark.docker
GIB = 1 << 30


class Tight:
    """The runner, what `docker inspect` shows of it, and a way in."""

    def __init__(self, runners: DockerRunners, spec: RunnerSpec) -> None:
        self.runners = runners
        self.spec = spec
        self.shown = runners.inspected(spec)
        self.host: dict[str, Any] = self.shown["HostConfig"]
        self.config: dict[str, Any] = self.shown["Config"]

    def sh(self, script: str, user: str = "") -> tuple[int, str]:
        return docker.execute(self.spec.name, "sh", "-c", script, user=user)

    def status(self, key: str) -> str:
        """Return a line of what the kernel says of a process in it."""
        _, text = self.sh("cat /proc/self/status")
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)[key].strip()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tight]:
    runners = DockerRunners()
    with runners.installed(tmp_path_factory.mktemp("data")):
        spec = runners.make_spec("r1")
        runners.left_running(spec)
        yield Tight(runners, spec)


# -- From outside -----------------------------------------------------------------------------------------


def test_it_is_in_a_network_of_its_users_own_and_in_no_other(runner: Tight) -> None:
    name = runner.runners.network_name()
    assert list(runner.shown["NetworkSettings"]["Networks"]) == [name]
    assert runner.host["NetworkMode"] == name
    (network,) = docker.networks_of(runner.runners.instance)
    assert (network["Name"], network["Driver"], network["Attachable"]) == (name, "bridge", False)
    assert network["Labels"] == {
        "io.agent-stack.instance": runner.runners.instance,
        "io.agent-stack.user": "user-ann",
    }
    (addresses,) = network["IPAM"]["Config"]
    subnet = IPv4Network(addresses["Subnet"])
    assert subnet.subnet_of(POOL)
    assert subnet.prefixlen == 27


def test_its_port_is_published_on_the_loopback_address_only(runner: Tight) -> None:
    ((inside, (published,)),) = runner.shown["NetworkSettings"]["Ports"].items()
    assert inside == "8900/tcp"
    assert published["HostIp"] == AGENTS_HOST
    assert published["HostPort"] == runner.config["Labels"]["io.agent-stack.port"]
    assert not runner.host["PublishAllPorts"]


def test_it_has_an_init_that_reaps_what_the_agent_leaves(runner: Tight) -> None:
    assert runner.host["Init"] is True
    assert "init" in runner.sh("cat /proc/1/comm")[1]


def test_it_has_no_capability_and_can_get_none(runner: Tight) -> None:
    assert runner.host["CapDrop"] == ["ALL"]
    assert not runner.host["CapAdd"]
    assert runner.host["SecurityOpt"] == ["no-new-privileges"]
    assert not runner.host["Privileged"]
    assert not runner.host["Devices"]


def test_it_shares_no_namespace_with_the_host(runner: Tight) -> None:
    assert [runner.host[key] for key in ("PidMode", "UTSMode", "UsernsMode", "IpcMode")] == ["", "", "", "private"]


def test_its_processes_memory_and_processor_time_are_limited_without_swap_beside(runner: Tight) -> None:
    assert runner.host["PidsLimit"] == 256
    assert runner.host["Memory"] == runner.host["MemorySwap"] == GIB
    assert runner.host["NanoCpus"] == 1_000_000_000
    assert runner.host["ShmSize"] == 64 << 20


def test_its_log_is_kept_in_files_that_rotate(runner: Tight) -> None:
    assert runner.host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": str(10 << 20), "max-file": "3"},
    }


def test_only_its_home_and_folders_in_memory_can_be_written_to(runner: Tight) -> None:
    assert runner.host["ReadonlyRootfs"] is True
    assert list(runner.host["Tmpfs"]) == ["/tmp"]
    (mounted,) = [m for m in runner.shown["Mounts"] if m["Type"] != "tmpfs"]
    assert (mounted["Source"], mounted["Destination"]) == (str(runner.spec.home), "/home/agent")
    assert mounted["RW"]


def test_docker_never_starts_it_again_by_itself(runner: Tight) -> None:
    assert runner.host["RestartPolicy"]["Name"] == "no"
    assert not runner.host["AutoRemove"]


def test_its_labels_tell_whose_it_is_and_what_it_was_made_from(runner: Tight) -> None:
    labels = {k: v for k, v in runner.config["Labels"].items() if k.startswith("io.agent-stack.")}
    port = labels.pop("io.agent-stack.port")
    assert runner.runners.port <= int(port) <= runner.runners.port + 20
    assert labels == {
        "io.agent-stack.instance": runner.runners.instance,
        "io.agent-stack.runner": "r1",
        "io.agent-stack.agent": "agent-r1",
        "io.agent-stack.user": "user-ann",
        "io.agent-stack.backend": "scripted",
        "io.agent-stack.spec-hash": "hash",
        "io.agent-stack.host": AGENTS_HOST,
    }


def test_no_label_holds_a_secret(runner: Tight) -> None:
    assert "key" not in runner.config["Labels"].values()


def test_it_is_called_within_as_it_is_without(runner: Tight) -> None:
    assert runner.config["Hostname"] == runner.spec.name
    assert runner.sh("hostname")[1].strip() == runner.spec.name


def test_it_asks_the_hosts_name_servers_and_knows_the_host_by_name(runner: Tight) -> None:
    assert not runner.host["Dns"]
    assert runner.host["ExtraHosts"] == ["host.docker.internal:host-gateway"]
    assert "host.docker.internal" in runner.sh("cat /etc/hosts")[1]


def test_it_runs_what_the_image_runs_as_whom_the_image_runs_it(runner: Tight) -> None:
    assert runner.config["User"] == "1000:1000"
    assert runner.config["Cmd"] == ["python3", "-m", "tests.agents.scripted"]
    assert "HOME=/home/agent" in runner.config["Env"]


# -- From inside ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/x", "/etc/x", "/usr/bin/x", "/app/x", "/var/x", "/opt/x", "/home/x", "/root/x", "/sys/x", "/proc/x"]
)
@pytest.mark.parametrize("user", ["", "0:0"], ids=["as the agent", "as root"])
def test_the_agent_cannot_write_there(runner: Tight, path: str, user: str) -> None:
    code, words = runner.sh(f"echo x > {path}", user=user)
    assert code != 0
    assert any(reason in words for reason in ("Read-only file system", "Permission denied", "nonexistent"))


@pytest.mark.parametrize("path", ["/home/agent/x", "/tmp/x", "/dev/shm/x"])
def test_the_agent_can_write_there(runner: Tight, path: str) -> None:
    assert runner.sh(f"echo hello > {path} && cat {path}") == (0, "hello\n")


def test_what_the_agent_writes_into_its_home_is_on_the_host_and_belongs_to_it(runner: Tight) -> None:
    assert runner.sh("echo hello > ~/note")[0] == 0
    note = runner.spec.home / "note"
    assert note.read_text() == "hello\n"
    assert (note.stat().st_uid, note.stat().st_gid) == (1000, 1000)


def test_the_agent_is_nobody_special(runner: Tight) -> None:
    assert runner.sh("id -u; id -g; id -G") == (0, "1000\n1000\n1000\n")
    assert runner.status("NoNewPrivs") == "1"
    assert runner.status("Seccomp") == "2"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(runner.status(kind), 16) == 0, kind


def test_even_root_in_the_container_has_no_capability(runner: Tight) -> None:
    code, words = runner.sh("chown 1:1 /tmp && echo done; mount -t tmpfs none /home/agent && echo done", user="0:0")
    assert code != 0
    assert "done" not in words


def test_nothing_in_memory_can_carry_rights_or_be_a_device(runner: Tight) -> None:
    (line,) = [line for line in runner.sh("cat /proc/mounts")[1].splitlines() if " /tmp " in line]
    options = line.split()[3].split(",")
    assert {"rw", "nosuid", "nodev"} <= set(options)


@pytest.mark.parametrize("path", ["/var/run/docker.sock", "/run/docker.sock", "/dev/sda", "/dev/vda", "/dev/kmsg"])
def test_the_agent_sees_neither_the_engine_nor_the_machine(runner: Tight, path: str) -> None:
    assert runner.sh(f"test -e {path}")[0] == 1


def test_the_agent_sees_its_own_processes_only(runner: Tight) -> None:
    _, numbers = runner.sh("ls /proc | grep -E '^[0-9]+$'")
    assert len(numbers.split()) < 10


def test_the_agent_does_not_see_what_its_home_lies_beside(runner: Tight) -> None:
    assert runner.sh("ls /home")[1] == "agent\n"
    (runner.spec.home.parent / "other").mkdir(exist_ok=True)
    assert "other" not in runner.sh("ls -a /home/agent /home/agent/..")[1]
