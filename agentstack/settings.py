"""Settings, from the environment and a `.env` file, checked at start: every mistake in one message."""

import os
import secrets as random
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agentstack.addresses import Host, HostNames, Loopback, Networks, Origin, Origins
from domain.errors import DomainError
from domain.users.passwords import check_password
from domain.users.rules import normal_email
from eventlog.vault import FILE_NAME as VAULT
from supervisors.engines.docker.networks import PREFIX_LENGTH

HOW_TO_MAKE_ONE = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
MIN_SECRET = 32
_PLACEHOLDERS = ("change", "example", "placeholder", "replace", "secret-key", "your-", "your_", "xxxx", "todo")


class SettingsError(Exception):
    """The settings cannot be used. The message lists every mistake with its variable's name."""


def _strong(value: str) -> str:
    looks_fake = any(p in value.casefold() for p in _PLACEHOLDERS) or len(set(value)) < 10
    if value and (len(value) < MIN_SECRET or looks_fake):
        raise ValueError(
            f"is too short or a placeholder: use {MIN_SECRET} or more random characters, from: {HOW_TO_MAKE_ONE}"
        )
    return value


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _roomy(pool: IPv4Network) -> IPv4Network:
    if pool.prefixlen > PREFIX_LENGTH:
        raise ValueError(f"has no room for one user's network: /{PREFIX_LENGTH} or wider is needed")
    return pool


Secret = Annotated[str, AfterValidator(_strong)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=0)]


class Settings(BaseSettings):
    """Every setting. The environment variable has the field's name in upper case; empty means not set."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    stack_data_root: Path = Field(Path("data"), description="Folder of everything that is kept.")
    host_stack_root: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        None,
        description="The same folder as the Docker host sees it, when the router runs in a container; found "
        "by itself when not set.",
    )
    router_bind_host: Host = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    router_port: Port = Field(18000, description="Port to listen on.")
    agent_stack_master_key: Secret = Field(
        "",
        repr=False,
        description="Master key of the vault, which encrypts what users write. Made and kept in the data folder "
        "when not set.",
    )
    agent_stack_master_key_file: Path | None = Field(
        None, description="File that holds the master key, instead of the variable."
    )
    jwt_secret: Secret = Field(
        "", repr=False, description="Signs sign-ins. Made and kept in the data folder when not set."
    )
    jwt_ttl_seconds: Annotated[int, Field(ge=60)] = Field(
        7 * 24 * 3600, description="How long a sign-in lasts, in seconds."
    )
    cookie_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = Field(
        "agent_stack_session", description="Name of the session cookie."
    )
    cookie_secure: bool = Field(False, description="Send the cookie over HTTPS only. Set it behind TLS.")
    allow_signup: bool = Field(True, description="Whether visitors may make an account.")
    invite_code: str = Field("", repr=False, description="Code that signing up asks for, if set.")
    bootstrap_admin_email: str = Field("", description="Makes this admin at the first start, with the next one.")
    bootstrap_admin_password: str = Field("", repr=False, description="The first admin's password.")
    bootstrap_admin_name: str = Field("", description="The first admin's name.")
    trusted_proxies: Networks = Field(
        (),
        description="Addresses or networks, with commas, of reverse proxies whose X-Forwarded-For is believed.",
    )
    cors_origins: Origins = Field(
        (), description="Origins, divided by commas, whose pages may use /v1 with an API token."
    )
    public_origin: Origin = Field(
        "", description="Where people open the page, such as https://chat.example.org, when that is a name."
    )
    allowed_hosts: HostNames = Field(
        (),
        description="More names, divided by commas, under which the server may be asked; *.example.org stands for "
        "all below it. IP addresses and localhost always work.",
    )
    sign_ins_per_address: Seconds = Field(
        30, description="How many sign-ins and sign-ups one address may try in a minute; 0: any number."
    )
    sign_ins_per_account: Seconds = Field(
        10,
        description="How many wrong passwords one address may try for one account in ten minutes, and ten times as "
        "many all addresses together; devices that have signed in before are counted by themselves. 0: any number.",
    )
    requests_per_minute: Seconds = Field(
        600, description="How many answers a user may ask for in a minute; 0: any number."
    )
    answers_at_once: Seconds = Field(
        64, description="How many answers a user may have written at a time; 0: any number."
    )
    connections_per_address: Seconds = Field(
        512, description="How many connections one address may have open, trusted proxies aside; 0: any number."
    )
    streams_per_user: Seconds = Field(64, description="How many event streams a user may have open; 0: any number.")
    agent_posts_per_minute: Seconds = Field(
        600, description="How many messages an agent may post by itself in a minute; 0: any number."
    )
    text_mib_per_minute: Seconds = Field(
        16, description="How much text a user, agents included, may have kept in a minute, in MiB; 0: any amount."
    )
    log_mib_per_day: Seconds = Field(
        256, description="How much of the log a user, agents included, may fill in a day, in MiB; 0: any amount."
    )
    conversations_per_user: Seconds = Field(
        10_000, description="How many conversations a user may have; 0: any number."
    )
    files_mib_per_user: Seconds = Field(
        10_240, description="How much all agents of a user may have on disk, in MiB; 0: any amount."
    )
    max_runners: Seconds = Field(
        0, description="How many runners there may be altogether; the others queue. 0: any number."
    )
    max_runners_per_user: Seconds = Field(
        0, description="How many runners one user may have at a time; 0: any number."
    )
    private_upstreams: bool = Field(
        False,
        description="Whether all users, not only the admin, may test connections to models at private addresses.",
    )
    default_idle_seconds: Seconds = Field(
        600, description="How long a runner idles before it is stopped; 0: for ever."
    )
    min_idle_seconds: Seconds = Field(60, description="The shortest idle time that a user may choose.")
    max_idle_seconds: Seconds = Field(21600, description="The longest idle time that a user may choose.")
    backend_host: Loopback = Field(
        IPv4Address("127.0.0.2"),
        description="Address of this machine on which runners listen. It should be another one than the page's: "
        "browsers send a sign-in to every port of an address.",
    )
    backend_port_start: Port = Field(19000, description="First port for runners.")
    backend_port_end: Port = Field(19999, description="Last port for runners.")
    backend_startup_timeout: Annotated[float, Field(gt=0)] = Field(
        90, description="How long an agent may take to become ready, in seconds."
    )
    backend_pull_timeout: Annotated[float, Field(gt=0)] = Field(
        1800, description="How long fetching an agent's image may take, in seconds."
    )
    backend_prepull_at_startup: bool = Field(
        False, description="Fetch missing images in the background when agent-stack starts."
    )
    docker_host: Annotated[str, Field(pattern=r"^(unix|tcp)://.+$")] = Field(
        "unix:///var/run/docker.sock", description="Where the Docker Engine answers."
    )
    runner_network_pool: Annotated[IPv4Network, AfterValidator(_roomy)] = Field(
        IPv4Network("10.201.0.0/16"), description="Addresses for the users' Docker networks, 32 for each user."
    )
    backends_config_path: Path | None = Field(
        None, description="Your own backends.json; the one that comes with agent-stack when not set."
    )
    max_agents_per_backend: Annotated[int, Field(ge=1, le=99)] = Field(
        3, description="How many agents of one backend a user may have."
    )
    max_parallel_starts: Annotated[int, Field(ge=1)] = Field(
        16, description="How many runners may start side by side; the others queue."
    )
    max_body_mib: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="Largest body of a request under /v1, in MiB; of JSON, 12 at the most."
    )
    transit_mib: Annotated[int, Field(ge=16)] = Field(
        256, description="Memory for requests and answers that are under way, in MiB, all users together."
    )
    transit_mib_per_user: Annotated[int, Field(ge=1)] = Field(
        64, description="How much of that one user may take, in MiB."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="Log lines for people or machines; auto: for people in a terminal."
    )
    agent_stack_callback_url: str = Field(
        "", description="Where agents reach this server; the address it listens on when not set."
    )
    shutdown_grace_seconds: Seconds = Field(
        10, description="How long running answers may go on after a stop was asked for."
    )
    stop_runners_on_exit: bool = Field(
        False, description="Stop runners at shutdown instead of adopting them later."
    )
    backup_folder: Path | None = Field(None, description="Where backups are made on a schedule; none when not set.")
    backup_every_hours: Annotated[float, Field(gt=0)] = Field(24, description="How often backups are made there.")
    backup_keep: Annotated[int, Field(ge=1)] = Field(7, description="How many of them are kept.")
    backup_passphrase_file: Path | None = Field(
        None, description="File with the passphrase that encrypts backups; they are not encrypted when not set."
    )
    reaper_interval_seconds: int | None = Field(
        None, description="No longer needed: every runner has its own idle timer. Accepted and ignored."
    )

    @model_validator(mode="before")
    @classmethod
    def _lower_case_choices(cls, values: dict[str, Any]) -> dict[str, Any]:
        lowered = {
            k: v.lower() for k, v in values.items() if k in {"log_level", "log_format"} and isinstance(v, str)
        }
        return {**values, **lowered}

    @model_validator(mode="after")
    def _check_together(self) -> "Settings":
        mistakes = []
        if self.backend_port_start > self.backend_port_end:
            mistakes.append("BACKEND_PORT_START is above BACKEND_PORT_END")
        if self.min_idle_seconds > self.max_idle_seconds:
            mistakes.append("MIN_IDLE_SECONDS is above MAX_IDLE_SECONDS")
        if self.backend_port_start <= self.router_port <= self.backend_port_end:
            mistakes.append("ROUTER_PORT lies between BACKEND_PORT_START and BACKEND_PORT_END")
        if self.agent_stack_master_key and self.agent_stack_master_key_file:
            mistakes.append("set AGENT_STACK_MASTER_KEY or AGENT_STACK_MASTER_KEY_FILE, not both")
        if bool(self.bootstrap_admin_email) != bool(self.bootstrap_admin_password):
            mistakes.append("set BOOTSTRAP_ADMIN_EMAIL and BOOTSTRAP_ADMIN_PASSWORD together, or neither")
        elif self.bootstrap_admin_email:
            for name, check, value in (
                ("EMAIL", normal_email, self.bootstrap_admin_email),
                ("PASSWORD", check_password, self.bootstrap_admin_password),
            ):
                try:
                    check(value)
                except DomainError as error:
                    mistakes.append(f"BOOTSTRAP_ADMIN_{name}: {error.message}")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    @property
    def listens_on_loopback(self) -> bool:
        """Whether only programs on this machine reach the server."""
        return self.router_bind_host in {"127.0.0.1", "::1", "localhost"}

    @property
    def agents_live_apart(self) -> bool:
        """Whether agents listen on an address at which nobody opens the page."""
        return str(self.backend_host) not in {"127.0.0.1", self.router_bind_host}

    @property
    def notices(self) -> list[str]:
        """What an admin should know of these settings."""
        found = []
        if self.reaper_interval_seconds is not None:
            found.append("REAPER_INTERVAL_SECONDS is no longer needed: every runner has its own idle timer.")
        if not self.agents_live_apart:
            found.append(
                f"Agents listen on {self.backend_host}, as the page may: whoever opens an agent's link there shows "
                "the agent their sign-in. Set BACKEND_HOST to another address, such as 127.0.0.2."
            )
        if self.public_origin.startswith("https:") and not self.cookie_secure:
            found.append("PUBLIC_ORIGIN is https: set COOKIE_SECURE=true too.")
        elif not self.listens_on_loopback and not self.cookie_secure:
            found.append(
                f"Listening on {self.router_bind_host} with COOKIE_SECURE=false: put a reverse proxy with TLS in "
                "front and set COOKIE_SECURE=true."
            )
        return found

    @cached_property
    def address(self) -> str:
        """The URL under which a person on this machine reaches the server."""
        host = self.router_bind_host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        return f"http://{shown}:{self.router_port}"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings. Raises SettingsError that lists every mistake."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for e in error.errors(include_url=False, include_input=False, include_context=False):
            name = "_".join(map(str, e["loc"])).upper()
            text = e["msg"].removeprefix("Value error, ")
            lines += [f"  {name}: {text}"] if name else [f"  {part}" for part in text.split("; ")]
        raise SettingsError("The settings cannot be used:\n" + "\n".join(lines)) from None


MASTER = "master"


def master_key(settings: Settings, folder: Path) -> str:
    """Return the master key: from the environment, from a file, else the one kept in the data folder.

    Raises SettingsError.
    """
    if settings.agent_stack_master_key:
        return settings.agent_stack_master_key
    if settings.agent_stack_master_key_file:
        return read_key_file(settings.agent_stack_master_key_file, "AGENT_STACK_MASTER_KEY_FILE")
    if (folder / VAULT).exists() and not (folder / "secrets" / MASTER).exists():
        raise SettingsError(
            f"The keys in {folder / VAULT} need the master key, which is not in the data folder: set "
            "AGENT_STACK_MASTER_KEY or AGENT_STACK_MASTER_KEY_FILE as for the server, or restore secrets/master "
            "from a backup."
        )
    return kept_secret(folder, MASTER)


def read_key_file(path: Path, setting: str) -> str:
    """Return the key in a file. Raises SettingsError when there is none that is good enough."""
    try:
        return _strong(path.read_text(encoding="utf-8").strip() or "-")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{setting}: {path}: {error}") from None


def kept_secret(folder: Path, name: str) -> str:
    """Return a secret of the installation, made at first use and kept in `folder/secrets` with mode 0600."""
    path = folder / "secrets" / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        value = path.read_text(encoding="utf-8").strip()
        if len(value) < MIN_SECRET:
            raise SettingsError(
                f"The kept secret {path} is damaged. Restore it from a backup, or delete it for a new one: "
                "what depends on it then has to be done anew."
            ) from None
        return value
    value = random.token_urlsafe(48)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(descriptor)
    return value
