"""Settings: where they come from, and what is said when they are wrong."""

import stat
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from agentstack.settings import HOW_TO_MAKE_ONE, Settings, SettingsError, kept_secret, load_settings
from agentstack.web_settings import web_settings
from web.auth.names import Names

GOOD_SECRET = "kD8sQ2vX7pLz1RfYw9TgBn4HjM6cUeA3oiVtSx5"
VALUES: dict[str, tuple[str, Any]] = {
    "stack_data_root": ("/somewhere", Path("/somewhere")),
    "host_stack_root": ("/elsewhere", Path("/elsewhere")),
    "router_bind_host": ("::1", "::1"),
    "router_port": ("18123", 18123),
    "agent_stack_master_key": (GOOD_SECRET, GOOD_SECRET),
    "agent_stack_master_key_file": ("/run/secrets/master", Path("/run/secrets/master")),
    "jwt_secret": (GOOD_SECRET, GOOD_SECRET),
    "jwt_ttl_seconds": ("61", 61),
    "cookie_name": ("other", "other"),
    "cookie_secure": ("true", True),
    "allow_signup": ("no", False),
    "invite_code": ("abc", "abc"),
    "bootstrap_admin_email": ("boss@example.org", "boss@example.org"),
    "bootstrap_admin_password": ("a good password", "a good password"),
    "bootstrap_admin_name": ("Boss", "Boss"),
    "trusted_proxies": ("10.0.0.0/8, ::1", (IPv4Network("10.0.0.0/8"), IPv6Network("::1/128"))),
    "cors_origins": (
        "https://chat.example.org, http://localhost:3000",
        ("https://chat.example.org", "http://localhost:3000"),
    ),
    "public_origin": ("https://聊天.example.org:8443", "https://xn--rss932g.example.org:8443"),
    "allowed_hosts": (
        "*.stra\u00dfe.de, Chat.example.org, *.example.net., localhost",
        ("*.xn--strae-oqa.de", "chat.example.org", "*.example.net", "localhost"),
    ),
    "sign_ins_per_address": ("0", 0),
    "sign_ins_per_account": ("5", 5),
    "requests_per_minute": ("60", 60),
    "answers_at_once": ("2", 2),
    "connections_per_address": ("64", 64),
    "streams_per_user": ("8", 8),
    "agent_posts_per_minute": ("30", 30),
    "text_mib_per_minute": ("1", 1),
    "transit_mib": ("64", 64),
    "transit_mib_per_user": ("16", 16),
    "log_mib_per_day": ("0", 0),
    "conversations_per_user": ("7", 7),
    "files_mib_per_user": ("100", 100),
    "max_runners": ("100", 100),
    "max_runners_per_user": ("4", 4),
    "private_upstreams": ("true", True),
    "default_idle_seconds": ("0", 0),
    "min_idle_seconds": ("10", 10),
    "max_idle_seconds": ("99999", 99999),
    "backend_host": ("127.1.2.3", IPv4Address("127.1.2.3")),
    "backend_port_start": ("30000", 30000),
    "backend_port_end": ("30001", 30001),
    "backend_startup_timeout": ("1.5", 1.5),
    "backend_pull_timeout": ("60", 60.0),
    "backend_prepull_at_startup": ("true", True),
    "docker_host": ("tcp://10.0.0.1:2375", "tcp://10.0.0.1:2375"),
    "runner_network_pool": ("10.9.0.0/16", IPv4Network("10.9.0.0/16")),
    "backends_config_path": ("/etc/backends.json", Path("/etc/backends.json")),
    "max_agents_per_backend": ("7", 7),
    "max_parallel_starts": ("2", 2),
    "max_body_mib": ("64", 64),
    "backup_folder": ("/backups", Path("/backups")),
    "backup_every_hours": ("0.5", 0.5),
    "backup_keep": ("3", 3),
    "backup_passphrase_file": ("/run/secrets/backup", Path("/run/secrets/backup")),
    "log_level": ("DEBUG", "debug"),
    "log_format": ("Json", "json"),
    "agent_stack_callback_url": ("http://10.0.0.1:18000", "http://10.0.0.1:18000"),
    "shutdown_grace_seconds": ("3", 3),
    "stop_runners_on_exit": ("1", True),
    "reaper_interval_seconds": ("30", 30),
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin with no settings at all: none in the environment, no .env file."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def mistakes() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_nothing_has_to_be_set() -> None:
    settings = load_settings()
    assert (settings.router_bind_host, settings.router_port) == ("127.0.0.1", 18000)
    assert settings.address == "http://127.0.0.1:18000"
    assert settings.notices == []


def test_this_test_knows_every_setting() -> None:
    assert set(VALUES) == set(Settings.model_fields)


@pytest.mark.parametrize("name", VALUES)
def test_every_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    together = [n for n in VALUES if n.startswith("bootstrap")] if name.startswith("bootstrap") else [name]
    together = [n for n in VALUES if n.startswith("backend_port")] if name.startswith("backend_port") else together
    for each in together:
        monkeypatch.setenv(each.upper(), VALUES[each][0])
    assert getattr(load_settings(), name) == VALUES[name][1]


@pytest.mark.parametrize("name", VALUES)
def test_a_setting_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name.upper(), "")
    assert getattr(load_settings(), name) == Settings.model_fields[name].default


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_settings_are_read_from_a_file_and_the_environment_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text('ROUTER_PORT=18001\nINVITE_CODE="from the file"\nSOMETHING_ELSE=1\n')
    assert load_settings().router_port == 18001
    monkeypatch.setenv("ROUTER_PORT", "18002")
    settings = load_settings()
    assert (settings.router_port, settings.invite_code) == (18002, "from the file")


def test_all_mistakes_are_told_at_once_each_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "ROUTER_PORT": "99999",
        "ROUTER_BIND_HOST": "nowhere",
        "JWT_SECRET": "short",
        "JWT_TTL_SECONDS": "5",
        "COOKIE_NAME": "a b",
        "COOKIE_SECURE": "perhaps",
        "MAX_AGENTS_PER_BACKEND": "0",
        "MAX_BODY_MIB": "x",
        "LOG_LEVEL": "loud",
        "BACKEND_STARTUP_TIMEOUT": "0",
        "DEFAULT_IDLE_SECONDS": "-1",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    told = mistakes()
    for name in wrong:
        assert f"  {name}: " in told


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"BACKEND_PORT_START": "20000", "BACKEND_PORT_END": "19000"}, ["BACKEND_PORT_START", "BACKEND_PORT_END"]),
        ({"MIN_IDLE_SECONDS": "100", "MAX_IDLE_SECONDS": "50"}, ["MIN_IDLE_SECONDS", "MAX_IDLE_SECONDS"]),
        ({"ROUTER_PORT": "19500"}, ["ROUTER_PORT"]),
        ({"BOOTSTRAP_ADMIN_EMAIL": "boss@example.org"}, ["BOOTSTRAP_ADMIN_PASSWORD"]),
        ({"BOOTSTRAP_ADMIN_PASSWORD": "a good password"}, ["BOOTSTRAP_ADMIN_EMAIL"]),
        (
            {"BOOTSTRAP_ADMIN_EMAIL": "no address", "BOOTSTRAP_ADMIN_PASSWORD": "short"},
            ["BOOTSTRAP_ADMIN_EMAIL: ", "BOOTSTRAP_ADMIN_PASSWORD: "],
        ),
    ],
)
def test_settings_that_do_not_go_together_are_named(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], named: list[str]
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    told = mistakes()
    for name in named:
        assert name in told


@pytest.mark.parametrize(
    "secret",
    [
        "tooshort4u",
        "x" * 64,
        "abcdefghi" * 8,
        "please-CHANGE-me-please-change-me-1234567890",
        "your-secret-key-goes-in-here-1234567890abc",
        "an-example-secret-of-enough-characters-12345",
    ],
)
def test_a_weak_or_placeholder_secret_is_refused_with_the_command_that_makes_a_good_one(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    told = mistakes()
    assert "JWT_SECRET" in told
    assert HOW_TO_MAKE_ONE in told
    assert secret not in told


def test_the_command_that_makes_a_secret_makes_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    code = HOW_TO_MAKE_ONE.partition('"')[2].rstrip('"')
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv("JWT_SECRET", made)
    assert load_settings().jwt_secret == made


def test_mistakes_and_settings_print_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", GOOD_SECRET)
    monkeypatch.setenv("INVITE_CODE", "the invite code")
    monkeypatch.setenv("BOOTSTRAP_ADMIN_EMAIL", "boss@example.org")
    monkeypatch.setenv("BOOTSTRAP_ADMIN_PASSWORD", "the first password")
    shown = repr(load_settings()) + str(load_settings())
    for secret in (GOOD_SECRET, "the invite code", "the first password"):
        assert secret not in shown


def test_the_reapers_interval_is_accepted_and_reported_as_no_longer_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAPER_INTERVAL_SECONDS", "30")
    (notice,) = load_settings().notices
    assert "REAPER_INTERVAL_SECONDS" in notice


def test_listening_to_everybody_without_tls_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_BIND_HOST", "0.0.0.0")
    (notice,) = load_settings().notices
    assert "COOKIE_SECURE" in notice
    monkeypatch.setenv("COOKIE_SECURE", "true")
    assert load_settings().notices == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3"])
def test_agents_on_the_address_of_the_page_are_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    monkeypatch.setenv("BACKEND_HOST", host)
    monkeypatch.setenv("ROUTER_BIND_HOST", "127.0.0.3")
    settings = load_settings()
    (notice,) = [n for n in settings.notices if "BACKEND_HOST" in n]
    assert host in notice
    shown = web_settings(settings, tmp_path, read_only=False)
    assert Names(shown).addressed({"host": f"{host}:18000"}, "").host == f"{host}:18000"  # The page can be opened.


def test_a_public_page_with_tls_and_an_insecure_cookie_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_ORIGIN", "https://chat.example.org")
    (notice,) = load_settings().notices
    assert "COOKIE_SECURE" in notice


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("BACKEND_HOST", v) for v in ("0.0.0.0", "192.168.1.1", "localhost", "::1", "10.201.0.1")),
        *(
            ("PUBLIC_ORIGIN", v)
            for v in ("chat.example.org", "https://a, https://b", "https://a/b", "https://*.a", "ftp://a")
        ),
        *(
            ("ALLOWED_HOSTS", v)
            for v in ("https://a", "a:18000", "*", "*.", "a b", "a/b", "a.*", "a,,b:1", "\u00fc\u200b\ufffd")
        ),
    ],
)
def test_where_and_under_which_names_is_checked(monkeypatch: pytest.MonkeyPatch, setting: str, value: str) -> None:
    monkeypatch.setenv(setting, value)
    with pytest.raises(SettingsError, match=setting):
        load_settings()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:18000"),
        ("::", "http://[::1]:18000"),
        ("::1", "http://[::1]:18000"),
        ("localhost", "http://localhost:18000"),
        ("192.0.2.1", "http://192.0.2.1:18000"),
    ],
)
def test_the_address_is_one_that_a_browser_on_this_machine_can_open(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str
) -> None:
    monkeypatch.setenv("ROUTER_BIND_HOST", host)
    assert load_settings().address == address


def test_a_kept_secret_is_for_its_owner_only_and_stays_the_same(tmp_path: Path) -> None:
    first = kept_secret(tmp_path, "jwt")
    assert len(first) >= 32
    assert kept_secret(tmp_path, "jwt") == first
    assert kept_secret(tmp_path, "operator") != first
    path = tmp_path / "secrets" / "jwt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_damaged_secret_is_named_and_not_replaced(tmp_path: Path) -> None:
    kept_secret(tmp_path, "jwt")
    (tmp_path / "secrets" / "jwt").write_text("")
    with pytest.raises(SettingsError, match="secrets/jwt is damaged"):
        kept_secret(tmp_path, "jwt")
    assert (tmp_path / "secrets" / "jwt").read_text() == ""
