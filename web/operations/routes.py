"""/healthz, /readyz and /metrics."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from quart import Blueprint, Response, current_app, jsonify
from quart_schema import document_response, tag_blueprint

from supervisors.engines.protocol import EngineError
from web.context import services
from web.problems import problem
from web.schemas import Answer

blueprint = Blueprint("operations", __name__)
tag_blueprint(blueprint, ["operations"])


class Health(Answer):
    """The server is up. `prepull_status` tells of images that are fetched in the background."""

    ok: bool
    backends: list[str]
    prepull_status: dict[str, str]


class Ready(Answer):
    """The server can do its work. `degraded` says what is wrong all the same, a sentence each."""

    ready: bool
    position: int
    degraded: list[str]


@blueprint.get("/healthz")
@document_response(Health)
async def healthz() -> Response:
    """Tell that the process answers."""
    names = [b.name for b in services().backends if not b.disabled]
    return jsonify(Health(ok=True, backends=names, prepull_status=dict(services().prepull)).model_dump())


@blueprint.get("/readyz")
@document_response(Ready)
async def readyz() -> Response:
    """Tell whether the store is writable, the views are caught up and every engine in use answers."""
    lifecycle, log, views = services().lifecycle, services().log, services().views
    problems = []
    if lifecycle.closing.is_set():
        problems.append("shutting down")
    if not lifecycle.ready:
        problems.append("starting")
    if views.position < log.position:
        problems.append("projections are catching up")
    if not await log.is_writable():
        problems.append("the event log is not writable (is the disk full?)")
    for name in {b.engine for b in services().backends if not b.disabled}:
        try:
            await services().pool.house.engines[name].check()
        except EngineError as error:
            problems.append(f"engine {name}: {error}")
    if problems:
        return problem(503, "; ".join(problems), "not_ready")
    faults = [
        f"The listener {name} has failed {count} times; the log of the server says why."
        for name, count in log.faults.items()
    ]
    return jsonify(Ready(ready=True, position=log.position, degraded=[*views.problems, *faults]).model_dump())


@blueprint.get("/metrics")
async def metrics() -> Response:
    """Return metrics for Prometheus."""
    return Response(generate_latest(current_app.config["METRICS"]), content_type=CONTENT_TYPE_LATEST)
