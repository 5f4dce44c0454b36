"""domain.backends.container, and what of a definition depends on the engine."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.backends.container import ContainerOptions
from domain.backends.definition import Backend

MIB = 1 << 20
PATHS_THAT_LEAD_ELSEWHERE = ["/a/../b", "/..", "/a/.", "/./a", "/a/..", "/a\x00b"]
NO_PATHS = ["", "/", "a", "./a", "~/a", "/a/", "//a", "/a//b", "/a:b", "C:\\a"]


def _options(**fields: Any) -> ContainerOptions:
    return ContainerOptions.model_validate(fields)


def _backend(**fields: Any) -> Backend:
    return Backend.model_validate({"name": "demo", "display_name": "Demo", **fields})


def refused(key: str, value: object) -> str:
    """Return why a value of a key is refused."""
    with pytest.raises(ValidationError) as error:
        _options(**{key: value})
    (mistake,) = {e["msg"] for e in error.value.errors() if e["loc"][0] == key}
    return mistake


def test_everything_is_as_tight_as_it_can_be_unless_it_is_declared_otherwise() -> None:
    options = _options()
    assert options.read_only
    assert options.capabilities == ()
    assert options.network_mode == "user"
    assert options.tmpfs == ("/tmp",)
    assert options.mounts == ()
    assert (options.memory, options.cpus, options.pids, options.shm_size) == (1024 * MIB, 1.0, 256, 64 * MIB)
    assert (options.log_max_size, options.log_max_files) == (10 * MIB, 3)


# -- Sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("512m", 512 * MIB),
        ("512M", 512 * MIB),
        ("512mb", 512 * MIB),
        ("1g", 1024 * MIB),
        ("1.5g", 1536 * MIB),
        (" 1 g ", 1024 * MIB),
        ("65536k", 64 * MIB),
        (str(64 * MIB), 64 * MIB),
        ("67108864b", 64 * MIB),
        (64 * MIB, 64 * MIB),
    ],
)
def test_a_size_is_bytes_or_a_number_with_a_unit(written: str | int, size: int) -> None:
    assert _options(memory=written).memory == size


@pytest.mark.parametrize("written", ["", "g", "-1g", "1t", "1 000m", "1,5g", "1e9", "0x10m", "1g1m", "lots", "1gg"])
def test_what_is_no_size_is_refused_with_an_example_of_one(written: str) -> None:
    assert "512m or 1.5g" in refused("memory", written)


@pytest.mark.parametrize(
    ("key", "least"), [("memory", 16 * MIB), ("shm_size", MIB), ("log_max_size", 1024)], ids=str
)
def test_a_size_that_docker_would_refuse_is_refused_with_the_least(key: str, least: int) -> None:
    assert str(least) in refused(key, least - 1)
    assert getattr(_options(**{key: least}), key) == least


@pytest.mark.parametrize("value", [None, [], {}, True, 1.5, -1])
def test_a_size_is_neither_a_list_nor_a_truth_nor_a_fraction(value: object) -> None:
    refused("memory", value)


@given(megabytes=st.integers(16, 1 << 20), unit=st.sampled_from(["m", "M", "mb", "MB"]))
def test_any_size_is_read_as_it_is_written(megabytes: int, unit: str) -> None:
    assert _options(memory=f"{megabytes}{unit}").memory == megabytes * MIB


# -- Ids, paths, names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["user", "chown"])
@pytest.mark.parametrize("ids", ["0:0", "1000:1000", "{uid}:{gid}", "1000:{gid}"])
def test_a_user_is_two_numbers_or_the_routers_own(key: str, ids: str) -> None:
    assert getattr(_options(**{key: ids}), key) == ids


@pytest.mark.parametrize("key", ["user", "chown"])
@pytest.mark.parametrize(
    "ids", ["", "1000", "agent", "agent:agent", "1000:", ":1000", "-1:0", "{gid}:{uid}", "1:1\n"]
)
def test_a_user_by_name_is_refused_since_only_the_image_knows_it(key: str, ids: str) -> None:
    refused(key, ids)


@pytest.mark.parametrize("path", PATHS_THAT_LEAD_ELSEWHERE)
def test_a_path_with_parts_that_lead_elsewhere_is_refused(path: str) -> None:
    for key, value in (
        ("home", path),
        ("tmpfs", [path]),
        ("mounts", [{"source": "/a", "target": path}]),
        ("mounts", [{"source": path, "target": "/a"}]),
        ("mounts", [{"source": "{home}" + path, "target": "/a"}]),
    ):
        assert "must not hold the parts . or .." in refused(key, value), key


@pytest.mark.parametrize("path", NO_PATHS)
def test_a_path_in_the_container_is_absolute_and_not_its_root(path: str) -> None:
    refused("home", path)
    refused("tmpfs", [path])
    refused("mounts", [{"source": "/a", "target": path}])


@pytest.mark.parametrize("source", [*NO_PATHS, "{home}", "{home}a", "{HOME}/a", "volume", "{home}/a/"])
def test_the_source_of_a_mount_is_an_absolute_path_or_one_in_the_home(source: str) -> None:
    refused("mounts", [{"source": source, "target": "/a"}])


@pytest.mark.parametrize("source", ["/srv/data", "{home}/workspace", "{home}/a/b", "/srv/with space", "/srv/..a"])
def test_a_mount_is_writable_unless_it_is_declared_otherwise(source: str) -> None:
    (mount,) = _options(mounts=[{"source": source, "target": "/work"}]).mounts
    assert (mount.source, mount.target, mount.read_only) == (source, "/work", False)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a", "a/../../b", "./a", "a/.", "a//b", "a/", "", ".", "..", "a:b", "a\x00b"]
)
def test_a_templated_file_lies_in_the_home(path: str) -> None:
    with pytest.raises(ValidationError):
        _backend(image="x", home_template="x", templated_files=[path])


@pytest.mark.parametrize("path", ["config.json", "a/b/c.yaml", ".env", "a/.hidden", "with space.txt", "..a", "a.."])
def test_a_templated_file_may_have_any_other_name(path: str) -> None:
    assert _backend(image="x", home_template="x", templated_files=[path]).templated_files == (path,)


@pytest.mark.parametrize("name", ["a", "agent", "agent-1.local", "A1", "a" * 63])
def test_a_host_name_is_one_that_a_container_can_have(name: str) -> None:
    assert _options(hostname=name, extra_hosts={name: "10.0.0.1"}).hostname == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "a b", "a" * 64, ".a", "ä", "a\n"])
def test_a_host_name_that_a_container_cannot_have_is_refused(name: str) -> None:
    refused("hostname", name)
    refused("extra_hosts", {name: "10.0.0.1"})


@pytest.mark.parametrize(
    "image", ["a", "nousresearch/agent:1.2", "ghcr.io/a/b:latest", "127.0.0.1:5000/a@sha256:" + "0" * 64]
)
def test_an_image_is_a_reference_of_any_registry(image: str) -> None:
    assert _options(image=image, build={"folder": "demo", "image": image}).image == image


@pytest.mark.parametrize("image", ["", "-a", "a b", "a;b", "../a", "a\n", "a" * 256])
def test_what_is_no_reference_of_an_image_is_refused(image: str) -> None:
    refused("image", image)
    refused("build", {"folder": "demo", "image": image})


@pytest.mark.parametrize("folder", ["", "../demo", "a/b", "/a", ".", "A"])
def test_a_build_has_a_folder_right_below_the_images(folder: str) -> None:
    refused("build", {"folder": folder, "image": "demo"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 0),
        ("port", 65536),
        ("cpus", 0),
        ("cpus", -1),
        ("cpus", float("nan")),
        ("pids", 0),
        ("pids", -1),
        ("log_max_files", 0),
        ("network_mode", "none"),
        ("network_mode", "container:other"),
        ("capabilities", ["cap_net_raw"]),
        ("capabilities", ["NET RAW"]),
        ("mounts", [{"source": "/a", "target": "/b", "mode": "ro"}]),
        ("mounts", ["/a:/b"]),
        ("build", {"folder": "demo"}),
        ("read_only", "perhaps"),
    ],
)
def test_an_unacceptable_value_of_an_option_is_refused(key: str, value: object) -> None:
    refused(key, value)


def test_an_infinite_number_of_processors_is_refused() -> None:
    refused("cpus", json.loads("Infinity"))


@pytest.mark.parametrize("address", ["", "nonsense", "10.0.0", "10.0.0.1:53", "dns.example.org"])
def test_a_name_server_is_an_address(address: str) -> None:
    refused("dns", [address])


@pytest.mark.parametrize(
    "fields",
    [
        {"mounts": [{"source": "/a", "target": "/b"}, {"source": "/c", "target": "/b"}]},
        {"mounts": [{"source": "/a", "target": "/home/agent"}]},
        {"tmpfs": ["/home/agent"]},
        {"tmpfs": ["/b"], "mounts": [{"source": "/a", "target": "/b"}]},
    ],
)
def test_one_path_in_the_container_cannot_be_two_things(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"/b|/home/agent"):
        _options(**fields)


def test_the_hosts_network_excludes_others() -> None:
    with pytest.raises(ValidationError, match="extra_networks"):
        _options(network_mode="host", extra_networks=["tools"])


# -- The engines ------------------------------------------------------------------------------------------


def test_a_command_may_be_declared_as_cmd() -> None:
    assert _backend(image="x", cmd=["run", "it"]).command == ("run", "it")
    assert _backend(image="x", command=["run", "it"]).command == ("run", "it")


def test_a_command_that_is_declared_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="cmd"):
        _backend(image="x", command=["run"], cmd=["other"])


@pytest.mark.parametrize("fields", [{"image": "x"}, {"build": {"folder": "demo", "image": "x"}}])
def test_a_container_needs_an_image_or_a_build_and_no_command(fields: dict[str, Any]) -> None:
    assert _backend(**fields).command == ()


def test_a_container_without_an_image_is_refused_with_what_is_missing() -> None:
    with pytest.raises(ValidationError, match="needs an `image`, or a `build`"):
        _backend(command=["run"])


def test_a_process_needs_a_command_and_no_image() -> None:
    assert _backend(engine="process", command=["run"]).image is None
    with pytest.raises(ValidationError, match="needs a `command`"):
        _backend(engine="process", image="x")


def test_templated_files_without_a_template_are_refused() -> None:
    with pytest.raises(ValidationError, match="home_template"):
        _backend(image="x", templated_files=["config.json"])


def test_a_variable_for_the_model_needs_a_model_that_is_overridden() -> None:
    with pytest.raises(ValidationError, match='"model_handling": "override"'):
        _backend(image="x", forward_model_env="LLM_MODEL")


def test_the_json_schema_names_every_option_and_shows_how_sizes_are_written() -> None:
    schema = Backend.model_json_schema()
    assert schema["properties"].keys() - {"cmd"} >= ContainerOptions.model_fields.keys()
    assert "512m" in schema["properties"]["memory"]["examples"]
    assert json.loads(json.dumps(schema)) == schema


def test_a_definition_survives_being_written_and_read_again() -> None:
    backend = _backend(
        image="x", memory="1.5g", mounts=[{"source": "{home}/w", "target": "/w"}], user="{uid}:{gid}", cmd=["run"]
    )
    assert Backend.model_validate_json(backend.model_dump_json()) == backend
