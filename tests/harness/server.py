"""A real agent-stack server in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from tests.harness.ports import PortBlock
from tests.harness.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
ADMIN = ("admin@example.org", "an admin's password")
PASSWORD = "a user's password"


class Server:
    """Start with `with Server(folder) as server:`. The folder keeps its data over restarts.

    `backends` is the content of a backends.json (a list of entries); the product's own when not given. `env` adds
    settings. The admin exists; `sign_up` makes users.
    """

    def __init__(
        self, folder: Path, *, backends: list[dict[str, Any]] | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._ports = PortBlock()
        self.port = self._ports.first
        self.env = {
            **{k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE"}},
            "STACK_DATA_ROOT": str(self.data),
            "ROUTER_PORT": str(self.port),
            "BACKEND_PORT_START": str(self.port + 1),
            "BACKEND_PORT_END": str(self._ports.last),
            "BOOTSTRAP_ADMIN_EMAIL": ADMIN[0],
            "BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1],
            "LOG_FORMAT": "json",
            "STOP_RUNNERS_ON_EXIT": "true",
            "SHUTDOWN_GRACE_SECONDS": "1",
            "PYTHONWARNINGS": "error",
            # Tests sign up and ask more often than people do; those of the limits set their own.
            "SIGN_INS_PER_ADDRESS": "0",
            "SIGN_INS_PER_ACCOUNT": "0",
            "REQUESTS_PER_MINUTE": "0",
            **(env or {}),
        }
        if backends is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "backends.json").write_text(json.dumps({"backends": backends}))
            self.env["BACKENDS_CONFIG_PATH"] = str(folder / "backends.json")
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: list[httpx.Client] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def start(self, until: str = "/readyz") -> Self:
        """Start it and wait until this address answers well."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "out.txt").open("ab") as out, (self.folder / "err.txt").open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agentstack", "serve"],
                env=self.env,
                cwd=self.folder,
                stdout=out,
                stderr=err,
                pass_fds=(self._ports.claim.fileno(),),
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.errors()
            try:
                if httpx.get(f"{self.url}{until}", trust_env=False).is_success:
                    return self
            except httpx.HTTPError:
                pass
            time.sleep(0.03)
        raise AssertionError(f"the server did not start: {self.errors()}")

    def stop(self, sig: int = signal.SIGTERM, wait: float = PATIENCE_SECONDS) -> int:
        """Signal it, wait until it has ended, and return its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(wait)
        self.process = None
        return code

    def kill(self) -> None:
        """End it as a crash would."""
        self.stop(signal.SIGKILL)

    def errors(self) -> str:
        """Return what it has logged."""
        return (self.folder / "err.txt").read_text()

    def records(self) -> Iterator[dict[str, Any]]:
        """Return its log lines."""
        return (json.loads(line) for line in self.errors().splitlines() if line.startswith("{"))

    def client(self, **options: Any) -> httpx.Client:
        """Return an HTTP client for it, signed in to nothing."""
        client = httpx.Client(base_url=self.url, trust_env=False, timeout=60, **options)
        self._clients.append(client)
        return client

    def admin(self) -> httpx.Client:
        """Return a client that is signed in as the admin."""
        return self._signed_in("login", *ADMIN)

    def sign_up(self, email: str) -> httpx.Client:
        """Return a client that is signed in as a new user."""
        return self._signed_in("signup", email, PASSWORD)

    def token(self, client: httpx.Client) -> str:
        """Return the session token of a signed-in client, to be used as a bearer token."""
        return client.cookies["agent_stack_session"]

    def cli(self, *args: str, input_: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line on the same data folder."""
        return subprocess.run(
            [sys.executable, "-m", "agentstack", *args],
            env={**self.env, "COLUMNS": "200"},
            cwd=self.folder,
            input=input_,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self.stop()

    def _signed_in(self, call: str, email: str, password: str) -> httpx.Client:
        client = self.client()
        answer = client.post(f"/auth/{call}", json={"email": email, "password": password})
        assert answer.is_success, answer.text
        return client
