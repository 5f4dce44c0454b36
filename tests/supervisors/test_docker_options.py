"""What a backend may declare of its container, as Docker and the agent see it."""

import os
from dataclasses import replace

import httpx
import pytest

from supervisors.engines.docker.container import numeric
from supervisors.engines.protocol import Exit
from supervisors.homes.home import Homes
from tests.harness import docker
from tests.harness.docker import INSTANCE_LABEL, engine_client
from tests.harness.ports import AGENTS_HOST
from tests.supervisors.docker_setup import SLEEP, DockerRunners
from tests.supervisors.engine_conformance import until_answers

pytestmark = pytest.mark.docker
MIB = 1 << 20
IMAGES_USER = 1000
FORKER = """
import os, time
for count in range(64):
    try:
        if os.fork() == 0:
            time.sleep(600)
    except OSError as error:
        print(count, error.strerror)
        break
"""
EATER = "eaten = bytearray(1 << 20)\nwhile True: eaten += bytes(eaten)"


class TestOptions(DockerRunners):
    """Runners that are declared to be something special."""

    def sh(self, runner_id: str, script: str) -> tuple[int, str]:
        return docker.execute(f"scripted-{self.instance}-{runner_id}", "sh", "-c", script)

    # -- Limits and rights ----------------------------------------------------------------------------------

    async def test_limits_are_as_declared_with_no_swap_beside_the_memory(self) -> None:
        spec = self.make_spec(
            "r1", memory="96m", pids=20, cpus=0.5, shm_size="8m", log_max_size="1m", log_max_files=2
        )
        async with self.created(self.make_engine(), spec) as shown:
            host = shown["HostConfig"]
            assert host["Memory"] == host["MemorySwap"] == 96 * MIB
            assert (host["PidsLimit"], host["NanoCpus"], host["ShmSize"]) == (20, 500_000_000, 8 * MIB)
            assert host["LogConfig"]["Config"] == {"max-size": str(MIB), "max-file": "2"}

    async def test_no_more_processors_are_asked_for_than_the_daemon_has(self) -> None:
        with engine_client() as client:
            processors = client.info()["NCPU"]
        async with self.created(self.make_engine(), self.make_spec("r1", cpus=4096)) as shown:
            assert shown["HostConfig"]["NanoCpus"] == processors * 1_000_000_000

    async def test_an_agent_that_takes_too_much_memory_is_killed_and_that_is_told(self) -> None:
        engine = self.make_engine()
        ended = Exit(None)
        for number in range(10):
            spec = self.make_spec(f"r{number}", command=("python3", "-c", EATER), memory="48m")
            async with self.started(engine, spec, answers=False):
                ended = await engine.wait_exit(spec.runner_id)
                assert ended == Exit(137, self.inspected(spec)["State"]["OOMKilled"])
            if ended.out_of_memory:  # At times Docker itself learns of the end before it learns of the reason.
                break
        assert str(ended) == "it was killed for using too much memory"

    async def test_an_agent_cannot_start_more_processes_than_declared(self) -> None:
        engine = self.make_engine()
        async with self.started(
            engine, self.make_spec("r1", command=("python3", "-c", FORKER), pids=16), answers=False
        ):
            await engine.wait_exit("r1")
            words = await engine.logs("r1", 5)
        assert "Resource temporarily unavailable" in words
        assert int(words.split()[0]) < 16

    async def test_only_the_declared_capabilities_are_given(self) -> None:
        spec = self.make_spec("r1", command=SLEEP, capabilities=["NET_BIND_SERVICE", "CHOWN"], user="0:0")
        async with self.started(self.make_engine(), spec, answers=False):
            host = self.inspected(spec)["HostConfig"]
            assert host["CapDrop"] == ["ALL"]
            assert {name.removeprefix("CAP_") for name in host["CapAdd"]} == {"NET_BIND_SERVICE", "CHOWN"}
            (line,) = [s for s in self.sh("r1", "cat /proc/1/status")[1].splitlines() if s.startswith("CapBnd")]
            assert int(line.split()[1], 16) == 1 << 10 | 1 << 0

    async def test_shared_memory_is_as_large_as_declared(self) -> None:
        async with self.started(
            self.make_engine(), self.make_spec("r1", command=SLEEP, shm_size="5m"), answers=False
        ):
            assert self.sh("r1", "df -k /dev/shm | tail -1 | awk '{print $2}'") == (0, "5120\n")

    # -- Who and what runs ----------------------------------------------------------------------------------

    async def test_an_agent_runs_as_the_declared_user_though_the_image_does_not_know_it(self) -> None:
        async with self.started(
            self.make_engine(), self.make_spec("r1", command=SLEEP, user="4242:4343"), answers=False
        ):
            assert self.sh("r1", "id -u; id -g; echo x > ~/x && echo done") == (0, "4242\n4343\ndone\n")

    async def test_an_agent_can_run_as_who_the_router_runs_as(self) -> None:
        spec = self.make_spec("r1", user="{uid}:{gid}")
        async with self.created(self.make_engine(), spec) as shown:
            assert shown["Config"]["User"] == f"{os.getuid()}:{os.getgid()}"
        assert numeric("{uid}:7") == f"{os.getuid()}:7"

    async def test_a_command_and_an_entry_point_replace_the_images(self) -> None:
        engine = self.make_engine()
        spec = self.make_spec("r1", entrypoint=["echo", "listen:"], command=("on", "{port}"))
        async with self.started(engine, spec, answers=False):
            await engine.wait_exit("r1")
            assert await engine.logs("r1", 5) == "listen: on 8900"

    async def test_the_port_is_the_declared_one_in_the_container_and_another_one_outside(self) -> None:
        spec = self.make_spec("r1", port=8123)
        async with self.started(self.make_engine(), spec) as endpoint:
            assert list(self.inspected(spec)["NetworkSettings"]["Ports"]) == ["8123/tcp"]
            assert endpoint.port != 8123

    async def test_a_host_name_can_be_fixed(self) -> None:
        spec = self.make_spec("r1", command=SLEEP, hostname="openclaw")
        async with self.started(self.make_engine(), spec, answers=False):
            assert self.sh("r1", "hostname") == (0, "openclaw\n")

    async def test_a_name_too_long_for_a_host_is_cut_where_no_dash_ends_it(self) -> None:
        name = f"x-{self.instance}-".ljust(62, "x") + "-a2"
        spec = replace(self.make_spec("r1"), name=name)
        async with self.created(self.make_engine(), spec) as shown:
            assert shown["Name"] == f"/{name}"
            assert shown["Config"]["Hostname"] == name[:62]

    # -- Folders --------------------------------------------------------------------------------------------

    async def test_mounts_are_writable_or_not_as_declared(self) -> None:
        shared, tools = self.folder / "shared", self.folder / "shared" / "tools"
        tools.mkdir(parents=True)
        (tools / "tool").write_text("a tool")
        shared.chmod(0o777)
        spec = self.make_spec(
            "r1",
            command=SLEEP,
            mounts=[
                {"source": str(shared), "target": "/shared"},
                {"source": str(tools), "target": "/opt/tools", "read_only": True},
                {"source": "{home}/cache", "target": "/var/cache/agent"},
            ],
        )
        (spec.home / "cache").mkdir()
        (spec.home / "cache").chmod(0o777)
        async with self.started(self.make_engine(), spec, answers=False):
            assert self.sh("r1", "echo x > /shared/x && cat /opt/tools/tool") == (0, "a tool")
            assert self.sh("r1", "echo y > /var/cache/agent/y && cat ~/cache/y") == (0, "y\n")
            code, words = self.sh("r1", "echo x > /opt/tools/x")
            assert code != 0
            assert "Read-only" in words
        assert (shared / "x").exists()

    async def test_the_home_can_be_elsewhere_and_home_says_so(self) -> None:
        spec = self.make_spec("r1", command=SLEEP, home="/opt/data")
        async with self.started(self.make_engine(), spec, answers=False):
            assert self.sh("r1", "echo x > $HOME/x && echo $HOME") == (0, "/opt/data\n")
        assert (spec.home / "x").exists()

    async def test_an_agent_that_runs_as_the_images_own_user_can_write_into_its_home(self) -> None:
        spec = self.make_spec("r1", command=SLEEP)
        spec.home.rmdir()
        Homes(self.folder).prepare(spec.backend, spec.home, {})
        async with self.started(self.make_engine(), spec, answers=False):
            assert self.sh("r1", "echo x > ~/x && echo done") == (0, "done\n")

    async def test_there_can_be_more_folders_in_memory_and_all_of_it_can_be_writable(self) -> None:
        spec = self.make_spec("r1", command=SLEEP, tmpfs=["/tmp", "/var/run/agent"], read_only=False, user="0:0")
        async with self.started(self.make_engine(), spec, answers=False):
            assert set(self.inspected(spec)["HostConfig"]["Tmpfs"]) == {"/tmp", "/var/run/agent"}
            assert self.sh("r1", "echo x > /var/run/agent/x && echo x > /etc/x && echo done") == (0, "done\n")

    async def test_the_daemon_may_have_the_data_folder_elsewhere(self) -> None:
        spec = self.make_spec("r1", mounts=[{"source": "{home}/cache", "target": "/cache"}])
        (spec.home / "cache").mkdir()
        elsewhere = self.folder / "elsewhere"
        elsewhere.symlink_to(self.folder)
        async with self.created(self.make_engine(host_root=elsewhere), spec) as shown:
            home = elsewhere / spec.home.relative_to(self.folder)
            mounted = {m["Destination"]: m["Source"] for m in shown["Mounts"] if m["Type"] == "bind"}
            assert mounted == {"/home/agent": str(home), "/cache": f"{home}/cache"}

    # -- Networks -------------------------------------------------------------------------------------------

    async def test_more_hosts_and_other_name_servers_can_be_declared(self) -> None:
        spec = self.make_spec("r1", command=SLEEP, extra_hosts={"db": "10.1.2.3"}, dns=["10.1.2.4"])
        async with self.started(self.make_engine(), spec, answers=False):
            assert self.inspected(spec)["HostConfig"]["Dns"] == ["10.1.2.4"]
            _, hosts = self.sh("r1", "cat /etc/hosts")
            assert "10.1.2.3\tdb" in hosts
            assert "host.docker.internal" in hosts

    async def test_it_can_join_other_networks_beside_its_users_own(self) -> None:
        other = f"other-{self.instance}"
        with engine_client() as client:
            client.networks.create(other, labels={INSTANCE_LABEL: self.instance})
        async with self.created(self.make_engine(), self.make_spec("r1", extra_networks=[other])) as shown:
            assert set(shown["NetworkSettings"]["Networks"]) == {self.network_name(), other}

    async def test_it_can_be_in_dockers_default_network(self) -> None:
        spec = self.make_spec("r1", command=SLEEP, network_mode="bridge")
        async with self.started(self.make_engine(), spec, answers=False):
            shown = self.inspected(spec)
            assert list(shown["NetworkSettings"]["Networks"]) == ["bridge"]
            assert [p[0]["HostIp"] for p in shown["NetworkSettings"]["Ports"].values()] == [AGENTS_HOST]
            assert docker.networks_of(self.instance) == []

    async def test_it_can_be_in_the_hosts_network_and_then_listens_at_the_reserved_port(self) -> None:
        env = {"SCRIPTED_HOST": "{host}"}
        spec = self.make_spec("r1", network_mode="host", env=env)
        async with self.started(self.make_engine(), spec) as endpoint:
            shown = self.inspected(spec)
            assert shown["HostConfig"]["NetworkMode"] == "host"
            assert not shown["HostConfig"]["PortBindings"]
            assert f"SCRIPTED_PORT={endpoint.port}" in shown["Config"]["Env"]
            assert self.port <= endpoint.port <= self.port + 20
            assert docker.networks_of(self.instance) == []

    # -- A router that was away -----------------------------------------------------------------------------

    async def test_a_runner_in_the_hosts_network_is_found_again_at_its_port(self) -> None:
        spec = self.make_spec("r1", network_mode="host")
        async with self.started(self.make_engine(), spec) as endpoint:
            again = self.make_engine()
            (found,) = await again.list()
            assert found.endpoint == endpoint
            await until_answers(endpoint)

    async def test_the_port_of_a_runner_that_was_found_again_is_not_given_out(self) -> None:
        one, two = self.make_spec("r1"), self.make_spec("r2")
        async with self.started(self.make_engine(), one) as first:
            again = self.make_engine()
            await again.list()
            async with self.started(again, two) as second:
                assert second.port != first.port
                assert httpx.get(f"{first.url}/health", trust_env=False).is_success

    async def test_the_key_is_in_the_environment_and_nowhere_else(self) -> None:
        spec = self.make_spec("r1", command=SLEEP, env={"AGENT_KEY": "sk-very-secret"})
        assert "sk-very-secret" not in repr(spec)
        async with self.created(self.make_engine(), spec) as shown:
            assert "AGENT_KEY=sk-very-secret" in shown["Config"].pop("Env")
            assert "sk-very-secret" not in str(shown)
