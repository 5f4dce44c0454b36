"""`agentstack users`: works beside a running server, through it, and without one, on the data folder."""

import uuid
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click
import httpx
import orjson
import trio
from rich.table import Table

from agentstack.cli.folder import as_json, console, data_folder
from agentstack.root import open_stack, prepare_folder
from agentstack.settings import Settings, kept_secret, load_settings
from domain.users.rules import normal_email
from eventlog.envelope import Origin
from eventlog.errors import DataFolderInUseError
from projections.users import User
from web.auth.jwts import issue_operator


@click.group()
def users() -> None:
    """List, make and delete accounts, and set passwords."""


@users.command("list")
@as_json
def list_users(json_: bool) -> None:
    """List all users, newest first."""
    settings = load_settings()
    data_folder(settings)
    _print(_all(settings), json_)


@users.command()
@click.argument("email")
@click.option("--name", help="Name to show; what stands before the @ when not given.")
@click.option("--admin", is_flag=True, help="Make the one admin (before the first start).")
@click.option(
    "--password",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="Asked for when not given; better so than in the shell's history.",
)
@as_json
def create(email: str, name: str | None, admin: bool, password: str, json_: bool) -> None:
    """Make an account."""
    settings = load_settings()
    prepare_folder(settings)
    body: dict[str, Any] = {"email": email, "name": name, "password": password}
    role = "admin" if admin else "user"
    offline = partial(_create_offline, settings, role=role, **body)
    if admin:
        _print([trio.run(offline)["user"]], json_)
    else:
        _print([_run(settings, "POST", "", offline, body)["user"]], json_)


@users.command()
@click.argument("email")
@click.option("--password", prompt="New password", hide_input=True, confirmation_prompt=True, help="Asked for.")
@click.option("--revoke-tokens", is_flag=True, help="End all its API tokens, too.")
def password(email: str, password: str, revoke_tokens: bool) -> None:
    """Set the password of an account, the admin's too. It ends all its sign-ins."""
    settings = load_settings()
    user = _user(settings, email)

    async def offline() -> dict[str, Any]:
        async with open_stack(settings) as stack:
            found = stack.services.views.users.get(user["id"])
            await stack.services.accounts.set_password(found, password, _origin())
            if revoke_tokens:
                await stack.services.tokens.revoke_all(found.id, _origin())
            return {}

    changes = {"password": password, "revoke_tokens": revoke_tokens}
    _run(settings, "PATCH", f"/{user['id']}", offline, changes)
    tokens = (
        "Its API tokens are revoked."
        if revoke_tokens
        else "Its API tokens go on working: --revoke-tokens ends them."
    )
    console.print(f"{user['email']} has a new password. {tokens}")


@users.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(email: str, yes: bool) -> None:
    """Delete an account for good: its agents with their files, its conversations and its keys."""
    settings = load_settings()
    user = _user(settings, email)
    if not yes:
        click.confirm(f"Delete {user['email']} and all that is theirs for good?", abort=True)

    async def offline() -> dict[str, Any]:
        async with open_stack(settings) as stack:
            await stack.services.pool.begin()
            await stack.services.deletion.delete(stack.services.views.users.get(user["id"]), _origin())
            return {}

    _run(settings, "DELETE", f"/{user['id']}", offline)
    console.print(f"{user['email']} is deleted.")


def _all(settings: Settings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _run(settings, "GET", "", partial(_all_offline, settings))["users"]
    return found


def _user(settings: Settings, email: str) -> dict[str, Any]:
    data_folder(settings)
    wanted = normal_email(email)
    found = next((u for u in _all(settings) if normal_email(u["email"]) == wanted), None)
    if found is None:
        raise click.ClickException(f"There is no account with the address {email}. See: agentstack users list.")
    return found


def _origin() -> Origin:
    return Origin("operator", f"cli-{uuid.uuid4().hex}")


Offline = Callable[[], Coroutine[Any, Any, dict[str, Any]]]


def _run(
    settings: Settings, method: str, path: str, offline: Offline, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Work on the data folder or, when a server has it, ask that server. `path` is below /api/admin/users."""
    try:
        found = trio.run(offline)
    except* DataFolderInUseError:
        found = _ask_server(settings, method, path, body)
    return found


def _ask_server(settings: Settings, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    token = issue_operator(kept_secret(settings.stack_data_root.absolute(), "operator"))
    try:
        answer = httpx.request(
            method,
            f"{settings.address}/api/admin/users{path}",
            json=body,
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=30,
        )
    except httpx.HTTPError as error:
        raise click.ClickException(
            f"The data folder is in use, but no server answers at {settings.address} ({error}). "
            "Are ROUTER_BIND_HOST and ROUTER_PORT set as they are for the server?"
        ) from None
    shown: dict[str, Any] = answer.json() if answer.content else {}
    if not answer.is_success:
        raise click.ClickException(str(shown.get("detail", shown)))
    return shown


async def _all_offline(settings: Settings) -> dict[str, Any]:
    async with open_stack(settings) as stack:
        return {"users": [_row(u) for u in reversed(stack.services.views.users.all())]}


async def _create_offline(
    settings: Settings, *, role: Any, email: str, name: str | None, password: str
) -> dict[str, Any]:
    async with open_stack(settings) as stack:
        user = await stack.services.accounts.register(
            email=email, password=password, name=name, role=role, origin=_origin()
        )
        return {"user": _row(user)}


def _row(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "slug": user.slug,
        "role": user.role,
        "created_at": int(user.created_at),
    }


def _print(rows: Iterable[dict[str, Any]], json_: bool) -> None:
    if json_:
        for row in rows:
            click.echo(orjson.dumps(row))
        return
    table = Table("email", "name", "role", "slug", "since", "id")
    for row in rows:
        since = datetime.fromtimestamp(row["created_at"], UTC).strftime("%Y-%m-%d")
        table.add_row(row["email"], row["name"], row["role"], row["slug"], since, row["id"])
    console.print(table)
