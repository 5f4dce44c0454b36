"""All that requests are answered with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

import trio

from domain.backends.registry import Backends
from eventlog.checkpoint import Signer
from eventlog.log import EventLog
from projections.rebuilding import Rebuilder
from projections.search import Search
from projections.views import Views
from supervisors.admission import Admission
from supervisors.allowance import Allowance
from supervisors.broadcasts import Broadcasts
from supervisors.commands.accounts import Accounts
from supervisors.commands.agents import AgentCommands
from supervisors.commands.conversations import ConversationCommands
from supervisors.commands.deletion import Deletion
from supervisors.commands.invites import Invites
from supervisors.commands.keys import Keys
from supervisors.commands.tokens import Tokens
from supervisors.disk import Disk
from supervisors.quota import Quota
from supervisors.runners.pool import RunnerPool
from supervisors.signals import Signals
from supervisors.turns.turns import Turns
from supervisors.usage import UsageMeter
from supervisors.wire.transit import Transit

Network = IPv4Network | IPv6Network
COMMITS = "commits"
"""The signal of every commit of the log."""
SHUTDOWN = "shutdown"
"""The signal that every open stream listens to."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What the web needs to know of the settings. Times in seconds, sizes in bytes."""

    jwt_secret: str
    jwt_seconds: int
    cookie_name: str
    cookie_secure: bool
    allow_signup: bool
    invite_code: str
    operator_key: str
    """Shared by processes that can read the data folder: the command line speaks to the server with it."""
    sign_ins_per_address: int
    sign_ins_per_account: int
    trusted_proxies: tuple[Network, ...]
    cors_origins: frozenset[str]
    public_origin: str
    """Where people open the page, "" when the admin has not said so."""
    allowed_hosts: frozenset[str]
    """More names of this server; `*.example.org` stands for all below it."""
    agents_address: str
    """Where agents listen, and nobody opens the page; "" when it is the same address as the page's."""
    private_upstreams: bool
    read_only: bool
    """Nothing can be changed or started: it shows how things were."""
    max_agents: int
    max_body: int
    streams_per_user: int


@dataclass(slots=True)
class Lifecycle:
    """How far a shutdown has come. `setup_token` is the one-time right to create the admin, "" when spent."""

    setup_token: str = ""
    ready: bool = False
    closing: trio.Event = field(default_factory=trio.Event)
    """No new work; event streams end."""
    cut: trio.Event = field(default_factory=trio.Event)
    """The grace is over: proxied streams end too."""


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the program below the web."""

    settings: WebSettings
    log: EventLog
    views: Views
    backends: Backends
    pool: RunnerPool
    turns: Turns
    allowance: Allowance
    admission: Admission
    transit: Transit
    quota: Quota
    usage: UsageMeter
    accounts: Accounts
    tokens: Tokens
    invites: Invites
    keys: Keys
    deletion: Deletion
    search: Search
    rebuilder: Rebuilder
    signer: Signer
    disk: Disk
    agents: AgentCommands
    conversations: ConversationCommands
    signals: Signals
    broadcasts: Broadcasts
    lifecycle: Lifecycle
    prepull: Mapping[str, str]
    """How the fetching of images in the background goes, by image."""
