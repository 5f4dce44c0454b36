"""The Quart application."""

from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from quart import Response, request
from quart_schema import Info, QuartSchema
from quart_schema.openapi import OpenAPIProvider
from quart_trio import QuartTrio
from werkzeug.routing import Rule

from web import pages
from web.account.export import blueprint as account_export
from web.account.routes import blueprint as account
from web.account.tokens import blueprint as tokens
from web.account.usage import blueprint as usage
from web.admin.invites import blueprint as invites
from web.admin.logs import blueprint as runner_logs
from web.admin.runners import blueprint as admin_runners
from web.admin.tokens import blueprint as admin_tokens
from web.admin.usage import blueprint as admin_usage
from web.admin.users import blueprint as admin
from web.agents.routes import blueprint as agents
from web.asgi import BoundedRequest, KeepAliveConnection
from web.auth.devices import Devices
from web.auth.guard import Guard
from web.auth.pages import SAFE_METHODS
from web.auth.routes import blueprint as auth
from web.auth.throttle import SignInThrottle
from web.bodies import BoundedJSON, look_through_large_body
from web.callback.routes import blueprint as callback
from web.callback.routes import identified
from web.context import addressed, admin_origin, anonymous_origin, caller, count_attempt
from web.conversations.export import blueprint as export
from web.conversations.routes import blueprint as conversations
from web.inspector.events import blueprint as events
from web.inspector.health import blueprint as health
from web.inspector.streams import blueprint as streams
from web.keys.routes import blueprint as keys
from web.limits import MAX_STRANGERS_BYTES
from web.operations.routes import blueprint as operations
from web.problems import Problem, handle_errors
from web.runners.routes import blueprint as runners
from web.search.routes import blueprint as search
from web.seats import Desks, StreamSeats
from web.services import Services

_WAYS_OUT = frozenset({"account.change_password", "conversations.cancel", "keys.test_values"})
"""Changes that a full log allows, as it does whatever is deleted: they end something, or write nothing."""
_LONG_ANSWERS_AT_ONCE = 4
"""For each user."""


class ContractProvider(OpenAPIProvider):
    """The OpenAPI document, with our error shape on every operation."""

    _made: dict[str, Any] | None = None

    def schema(self) -> dict[str, Any]:
        """Return the document, which is made once: it takes a while, and anybody may ask for it."""
        if self._made is None:
            self._made = super().schema()
        return self._made

    def generate_rules(self) -> Any:
        """Leave the page and its files out."""
        return (r for r in super().generate_rules() if not r.endpoint.startswith("pages."))

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add what the library cannot know: any error is a problem, and a body is not optional."""
        paths, components = super().build_paths(rule)
        for operation in (o for path in paths.values() for o in path.values()):
            operation["responses"] = {str(status): r for status, r in operation["responses"].items()}
            schema = Problem.model_json_schema()
            operation["responses"]["default"] = {
                "description": Problem.__doc__,
                "content": {"application/problem+json": {"schema": schema}},
            }
            if not any(status.startswith("2") for status in operation["responses"]):
                status = "204" if rule.methods and "DELETE" in rule.methods else "200"
                operation["responses"][status] = {"description": "Done."}
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
        return paths, components


def make_app(services: Services, guard: Guard, metrics: CollectorRegistry = REGISTRY) -> QuartTrio:
    """Return the application that serves everything but /v1."""
    app = QuartTrio("web", static_folder=None)
    app.asgi_http_class = KeepAliveConnection
    app.request_class = BoundedRequest
    # Streams are as long as they are; what must not take long has its own deadline.
    app.config.update(
        RESPONSE_TIMEOUT=None,
        BODY_TIMEOUT=60,
        MAX_CONTENT_LENGTH=services.settings.max_body,
        SERVICES=services,
        GUARD=guard,
        METRICS=metrics,
        DESKS=Desks(_LONG_ANSWERS_AT_ONCE),
        DEVICES=Devices(services.settings),
        STREAMS=StreamSeats(services.settings.streams_per_user),
        THROTTLE=SignInThrottle(
            per_place=services.settings.sign_ins_per_address,
            per_account=services.settings.sign_ins_per_account,
        ),
    )
    app.url_map.merge_slashes = False
    for blueprint in (
        *(auth, account, account_export, tokens, usage, keys),
        *(runners, agents, conversations, export, search, callback),
        *(admin, invites, admin_tokens, admin_usage, admin_runners, runner_logs),
        *(events, streams, health, operations, pages.blueprint),
    ):
        app.register_blueprint(blueprint)
    QuartSchema(
        app,
        openapi_path="/openapi.json",
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        info=Info(title="agent-stack", version="1", description="Users, agents, runners and conversations."),
        openapi_provider_class=ContractProvider,
        conversion_preference="pydantic",
    )
    app.json = BoundedJSON(app)
    handle_errors(app)

    @app.before_request
    async def turn_strangers_away() -> None:
        """Find out who is calling before the body is read."""
        if request.url_rule is None:
            return  # There is nothing to protect.
        if request.path.startswith("/api/admin/"):
            admin_origin()
        elif request.blueprint == callback.name:
            length = request.content_length
            if length is None or length > MAX_STRANGERS_BYTES:
                identified((request.view_args or {})["agent_id"])
        elif request.path.startswith("/api/"):
            who = caller()
            if request.method not in SAFE_METHODS | {"DELETE"} and request.endpoint not in _WAYS_OUT:
                services.allowance.check_log(who.user.id)
        elif request.path.startswith("/auth/") and request.method not in SAFE_METHODS:
            anonymous_origin()
            if request.endpoint != "auth.logout":
                count_attempt(signs_in=request.endpoint == "auth.login")
        await look_through_large_body()

    @app.after_request
    async def add_security_headers(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        response.headers.setdefault("Content-Security-Policy", pages.content_security_policy(addressed()))
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if response.mimetype in {"application/json", "application/problem+json"}:
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return app
