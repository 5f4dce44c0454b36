"""/api/backends and /api/runners: by backend, on the caller's first agent of it."""

from pydantic import Field
from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint, validate_request

from domain.runners.machine import State
from web.context import caller, caller_of_change, services
from web.runners.progress import ProgressSource
from web.runners.shapes import RunnerInfo, StartedRunner, runner_info, start_runner, stop_runner
from web.schemas import Answer, Request, Stopped
from web.sse import event_stream

blueprint = Blueprint("runners", __name__, url_prefix="/api")
tag_blueprint(blueprint, ["runners"])


class BackendInfo(Answer):
    """A declared backend, with the caller's idle time for it in seconds (0: for ever)."""

    name: str
    display_name: str
    description: str
    models: list[str]
    default_idle_seconds: int
    idle_seconds: int
    user_overridable_env: list[str]
    disabled: bool


class BackendList(Answer):
    """All declared backends."""

    backends: list[BackendInfo]


class RunnerList(Answer):
    """The caller's runners."""

    runners: list[RunnerInfo]


class Started(Answer):
    """The runner that is ready."""

    runner: StartedRunner


class IdleTime(Request):
    """How long to idle, in seconds; 0 or less means for ever."""

    idle_seconds: int = Field(ge=-(2**31), lt=2**31)


class IdleTimeKept(Answer):
    """The idle time as it was kept."""

    idle_seconds: int


@blueprint.get("/backends")
@document_response(BackendList)
async def backends() -> Response:
    """List the backends."""
    user, house = caller().user, services().pool.house
    found = [
        BackendInfo(
            name=b.name,
            display_name=b.display_name,
            description=b.description,
            models=list(b.models),
            default_idle_seconds=house.default_idle_seconds(b),
            idle_seconds=house.idle_seconds(user.id, b),
            user_overridable_env=list(b.user_overridable_env),
            disabled=b.disabled,
        )
        for b in services().backends
    ]
    return jsonify(BackendList(backends=found).model_dump())


@blueprint.get("/runners")
@document_response(RunnerList)
async def runners() -> Response:
    """List the caller's runners that are up or coming up."""
    agents = services().views.agents.of_user(caller().user.id)
    supervisors = [s for a in agents if (s := services().pool.find(a.id))]
    shown = [runner_info(services(), s) for s in supervisors if s.state not in {State.ABSENT, State.FAILED}]
    return jsonify(RunnerList(runners=shown).model_dump())


@blueprint.post("/runners/<backend>/start")
@document_response(Started)
async def start(backend: str) -> Response:
    """Start the runner of a backend and answer when it is ready."""
    who = caller()
    agent = await services().agents.first(who.user.id, services().backends.enabled(backend), who.origin)
    started = await start_runner(services(), agent, who.origin)
    return jsonify(Started(runner=started).model_dump())


@blueprint.delete("/runners/<backend>")
@document_response(Stopped)
async def stop(backend: str) -> Response:
    """Stop the runner of a backend."""
    who = caller()
    services().backends.get(backend)
    agent = services().views.agents.first(who.user.id, backend)
    return jsonify(Stopped(stopped=await stop_runner(services(), agent, who.origin)).model_dump())


@blueprint.put("/runners/<backend>/idle")
@document_response(IdleTimeKept)
@validate_request(IdleTime)
async def idle(backend: str, data: IdleTime) -> Response:
    """Choose how long the caller's runners of a backend may idle."""
    who = caller()
    services().backends.get(backend)
    kept = services().pool.house.clamp_idle(data.idle_seconds)
    await services().accounts.choose_idle(who.user, backend, kept, who.origin)
    for agent in services().views.agents.of_backend(who.user.id, backend):
        supervisor = services().pool.find(agent.id)
        if supervisor:
            supervisor.nudge()
    return jsonify(IdleTimeKept(idle_seconds=kept).model_dump())


@blueprint.get("/runners/<backend>/progress")
async def progress(backend: str) -> Response:
    """Follow the start of a backend's runner as server-sent events, until it is ready or has failed.

    The caller's first agent of the backend is made here if there is none.
    """
    who = caller_of_change()
    agent = await services().agents.first(who.user.id, services().backends.enabled(backend), who.origin)
    return event_stream(ProgressSource(services(), agent), services().lifecycle)
