"""/auth: signing up, in and out."""

import hmac
from contextlib import suppress

from pydantic import Field
from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint, validate_request

from domain.errors import Forbidden, TooMany, Unauthenticated
from eventlog.envelope import Origin
from projections.users import User
from supervisors.commands.invites import PREFIX, bad_invite
from web.auth import jwts
from web.auth.guard import cookie_name
from web.context import anonymous_origin, caller, client_site, device, devices, services, throttle
from web.schemas import Answer, Ok, Request

blueprint = Blueprint("auth", __name__, url_prefix="/auth")
tag_blueprint(blueprint, ["auth"])


class Account(Answer):
    """A user as clients see one."""

    id: str
    email: str
    name: str
    slug: str
    role: str


class Signed(Answer):
    """Who is signed in."""

    user: Account


class Credentials(Request):
    """An address and a password."""

    email: str = Field(max_length=320)
    password: str = Field(max_length=1024)


class Signup(Credentials):
    """A new account."""

    name: str | None = Field(default=None, max_length=200)
    invite_code: str | None = Field(default=None, max_length=200)


class Setup(Credentials):
    """The admin's account, with the one-time token that the server printed at its start."""

    token: str = Field(max_length=200)
    name: str | None = Field(default=None, max_length=200)


class SigninState(Answer):
    """What a visitor may do, and who it is if somebody is signed in. `read_only`: it shows how things were."""

    needs_setup: bool
    allow_signup: bool
    invite_required: bool
    read_only: bool
    user: Account | None


@blueprint.get("/state")
@document_response(SigninState)
async def state() -> Response:
    """Tell whether there is an admin yet, whether visitors may sign up, and who is signed in, if anybody."""
    settings = services().settings
    try:
        user = Account.model_validate(caller().user)
    except (Unauthenticated, Forbidden):  # A token for /v1 only is nobody here.
        user = None
    return jsonify(
        SigninState(
            needs_setup=services().views.users.admin() is None and not settings.read_only,
            read_only=settings.read_only,
            allow_signup=settings.allow_signup and not settings.read_only,
            invite_required=bool(settings.invite_code),
            user=user,
        ).model_dump()
    )


@blueprint.post("/setup")
@document_response(Signed)
@validate_request(Setup)
async def setup(data: Setup) -> Response:
    """Create the admin with the one-time token, and sign in."""
    origin = anonymous_origin()
    lifecycle = services().lifecycle
    if not lifecycle.setup_token or not hmac.compare_digest(data.token.encode(), lifecycle.setup_token.encode()):
        raise Forbidden(
            "This set-up link is spent or wrong. Restart agent-stack to get a new one, if there is no admin yet.",
            code="bad_setup_token",
        )
    user = await services().accounts.register(
        email=data.email, password=data.password, name=data.name, role="admin", origin=origin
    )
    lifecycle.setup_token = ""
    return await _sign_in(user, origin)


@blueprint.post("/signup")
@document_response(Signed)
@validate_request(Signup)
async def signup(data: Signup) -> Response:
    """Create an account and sign in."""
    origin = anonymous_origin()
    user = await services().accounts.register(
        email=data.email,
        password=data.password,
        name=data.name,
        role="user",
        origin=origin,
        invite=_invitation(data.invite_code or ""),
    )
    return await _sign_in(user, origin)


def _invitation(code: str) -> str:
    """Return the code if it is that of an invitation, "" when none is needed. Raises Forbidden."""
    settings = services().settings
    is_the_code = hmac.compare_digest(code.encode(), settings.invite_code.encode())
    if code.startswith(PREFIX) and not is_the_code:
        return code
    if not settings.allow_signup:
        raise Forbidden("Signing up is switched off here. Ask the admin for an invitation.", code="signup_off")
    if settings.invite_code and not is_the_code:
        raise bad_invite()
    return ""


@blueprint.post("/login")
@document_response(Signed)
@validate_request(Credentials)
async def login(data: Credentials) -> Response:
    """Sign in."""
    origin = anonymous_origin()
    place, is_known = _counted_as(data.email)
    user = await services().accounts.authenticate(data.email, data.password)
    throttle().succeeded(place, data.email, is_known=is_known)
    return await _sign_in(user, origin)


def _counted_as(email: str) -> tuple[str, bool]:
    """Count an attempt on an account; return under which place, and whether that is a device that is known for it.

    Somebody else may have the device's cookie: when its attempts are used up, those of the address are left.
    """
    known, account = device(), services().accounts.with_address(email)
    if known and account and account.id in known.users:
        with suppress(TooMany):
            throttle().check_account(known.place, email, is_known=True)
            return known.place, True
    elif known:
        throttle().check_place(client_site())  # So far it was counted as the device that it is for others.
    throttle().check_account(client_site(), email, is_known=False)
    return client_site(), False


@blueprint.post("/logout")
@document_response(Ok)
async def logout() -> Response:
    """End this session: its token is void from now on, also where it was copied to."""
    who = caller()
    await services().accounts.revoke_session(who.session, who.origin)
    answer = jsonify(Ok().model_dump())
    settings = services().settings
    answer.delete_cookie(
        cookie_name(settings), path="/", httponly=True, samesite="Lax", secure=settings.cookie_secure
    )
    return answer


@blueprint.get("/me")
@document_response(Signed)
async def me() -> Response:
    """Tell who is signed in."""
    return jsonify(Signed(user=Account.model_validate(caller().user)).model_dump())


async def _sign_in(user: User, origin: Origin) -> Response:
    settings = services().settings
    agent = request.headers.get("User-Agent", "")
    session = await services().accounts.open_session(user, agent, Origin(f"user:{user.id}", origin.correlation))
    answer = jsonify(Signed(user=Account.model_validate(user)).model_dump())
    answer.set_cookie(
        cookie_name(settings),
        jwts.issue(session, settings.jwt_secret),
        max_age=settings.jwt_seconds,
        path="/",
        httponly=True,
        samesite="Lax",
        secure=settings.cookie_secure,
    )
    devices().remember(answer, device(), user.id)
    return answer
