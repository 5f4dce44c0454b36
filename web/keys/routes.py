"""/api/me/env-overrides and /api/admin/shared-env: values of the variables that agents need."""

from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint, validate_request

from domain.backends.definition import Backend
from domain.keys.policy import masked
from web.context import admin_origin, caller, services
from web.keys.upstream import test_upstream
from web.schemas import Answer, Ok, Request

blueprint = Blueprint("keys", __name__, url_prefix="/api")
tag_blueprint(blueprint, ["keys"])


class EffectiveValue(Answer):
    """The value that counts, masked, and where it is from: `backend`, `global`, `shared`, `default` or `unset`."""

    source: str
    masked: str


class Overrides(Answer):
    """All variables: which backends have them, what is set, and what counts. The scope "" is all backends."""

    vars: list[str]
    backends: dict[str, list[str]]
    admin_shared: dict[str, bool]
    admin_shared_present: dict[str, bool]
    overrides: dict[str, dict[str, str]]
    effective: dict[str, dict[str, EffectiveValue]]


class NewValue(Request):
    """A value, for one backend or ("") for all; an empty one clears it."""

    value: str
    backend: str = ""


class ValueKept(Ok):
    """Whether there is a value now."""

    set: bool


class WhichUpstream(Request):
    """The backend whose values to try; "" for those of all backends."""

    backend: str = ""


class UpstreamTested(Answer):
    """What came of it, in a sentence, and the models that are offered there (50 at most)."""

    ok: bool
    detail: str
    models: list[str]


class SharedEnv(Answer):
    """Which of the admin's own values are everybody's."""

    vars: list[str]
    shared: dict[str, bool]
    admin_has_value: dict[str, bool]


class Sharing(Request):
    """Whether to share."""

    shared: bool


class SharingKept(Ok):
    """Whether it is shared now."""

    shared: bool


@blueprint.get("/me/env-overrides")
@document_response(Overrides)
async def overrides() -> Response:
    """Return what the caller has set and what counts. Values are masked."""
    user, names = caller().user, services().keys.names
    found: dict[str, dict[str, str]] = {}
    for key in services().views.keys.of_user(user.id):
        found.setdefault(key.backend, {})[key.name] = masked(key.value)
    answer = Overrides(
        vars=names,
        backends={n: [b.name for b in services().backends if n in b.user_overridable_env] for n in names},
        admin_shared={n: services().views.keys.is_shared(n) for n in names},
        admin_shared_present={n: services().views.keys.is_shared(n) and _admin_has(n) for n in names},
        overrides=found,
        effective={b.name: _effective(b, user.id) for b in services().backends},
    )
    return jsonify(answer.model_dump())


@blueprint.put("/me/env-overrides/<name>")
@document_response(ValueKept)
@validate_request(NewValue)
async def set_value(name: str, data: NewValue) -> Response:
    """Set a value. Agents that it changes are renewed after what they do now, or at once with `?force=true`."""
    who = caller()
    is_set = await services().keys.set(
        who.user.id, data.backend, name, data.value.strip(), who.origin, at_once=_at_once()
    )
    return jsonify(ValueKept(set=is_set).model_dump())


@blueprint.delete("/me/env-overrides/<name>")
@document_response(Ok)
async def clear_value(name: str) -> Response:
    """Clear the value for the backend in the query, or for all."""
    who = caller()
    backend = request.args.get("backend", "")
    await services().keys.set(who.user.id, backend, name, "", who.origin, at_once=_at_once())
    return jsonify(Ok().model_dump())


@blueprint.post("/me/env-overrides/test")
@document_response(UpstreamTested)
@validate_request(WhichUpstream)
async def test_values(data: WhichUpstream) -> Response:
    """Ask the model behind an agent for its models, with the address and the key that count."""
    services().quota.take_test(caller().user.id)
    return jsonify(UpstreamTested.model_validate(await test_upstream(data.backend)).model_dump())


@blueprint.get("/admin/shared-env")
@document_response(SharedEnv)
async def shared_env() -> Response:
    """Return which of the admin's own values are shared."""
    admin_origin()
    names = services().keys.names
    answer = SharedEnv(
        vars=names,
        shared={n: services().views.keys.is_shared(n) for n in names},
        admin_has_value={n: _admin_has(n) for n in names},
    )
    return jsonify(answer.model_dump())


@blueprint.put("/admin/shared-env/<name>")
@document_response(SharingKept)
@validate_request(Sharing)
async def share(name: str, data: Sharing) -> Response:
    """Share the admin's own value with everybody, or no longer."""
    origin = admin_origin()
    await services().keys.share(name, data.shared, origin, at_once=_at_once())
    return jsonify(SharingKept(shared=data.shared).model_dump())


def _at_once() -> bool:
    return request.args.get("force", "").lower() in {"1", "true", "yes"}


def _admin_has(name: str) -> bool:
    admin = services().views.users.admin()
    return bool(admin and services().views.keys.find(admin.id, "", name))


def _effective(backend: Backend, user_id: str) -> dict[str, EffectiveValue]:
    found = services().views.effective(backend, user_id)
    return {n: EffectiveValue(source=e.source, masked=masked(e.value)) for n, e in found.items()}
