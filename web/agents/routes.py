"""/api/agents: several instances of one backend."""

from pydantic import Field
from quart import Blueprint, Response, jsonify, request
from quart_schema import document_response, tag_blueprint, validate_request

from domain.runners.machine import State
from projections.agents import Agent
from web.context import caller, services
from web.conversations.commands import delete_conversation
from web.runners.shapes import StartedRunner, container_name, host_port, start_runner, stop_runner
from web.schemas import Answer, Request, Seconds, Stopped

blueprint = Blueprint("agents", __name__, url_prefix="/api/agents")
tag_blueprint(blueprint, ["agents"])


class AgentInfo(Answer):
    """An agent and its runner.

    `state` is the supervisor's, for example `absent`, `probing` or `ready`; `failure` says why it is `failed`.
    """

    id: str
    user_id: str
    backend: str
    name: str
    model: str
    ordinal: int
    created_at: Seconds
    updated_at: Seconds
    running: bool
    state: str
    failure: str
    container_name: str
    host_port: int | None


class AgentList(Answer):
    """The caller's agents."""

    agents: list[AgentInfo]
    max_per_backend: int


class OneAgent(Answer):
    """An agent."""

    agent: AgentInfo


class StartedAgent(Answer):
    """The runner that is ready."""

    runner: StartedRunner


class NewAgent(Request):
    """An agent to make."""

    backend: str
    name: str = Field(min_length=1, max_length=80)
    model: str | None = Field(default=None, max_length=200)


class AgentPatch(Request):
    """What to change; what is left out stays."""

    name: str | None = Field(default=None, min_length=1, max_length=80)
    model: str | None = Field(default=None, max_length=200)


@blueprint.get("")
@document_response(AgentList)
async def agents() -> Response:
    """List the caller's agents."""
    found = [_info(a) for a in services().views.agents.of_user(caller().user.id)]
    return jsonify(AgentList(agents=found, max_per_backend=services().settings.max_agents).model_dump())


@blueprint.post("")
@document_response(OneAgent)
@validate_request(NewAgent)
async def create(data: NewAgent) -> Response:
    """Make an agent."""
    who = caller()
    backend = services().backends.enabled(data.backend)
    agent = await services().agents.create(who.user.id, backend, data.name, data.model or "", who.origin)
    return jsonify(OneAgent(agent=_info(agent)).model_dump())


@blueprint.patch("/<agent_id>")
@document_response(OneAgent)
@validate_request(AgentPatch)
async def change(agent_id: str, data: AgentPatch) -> Response:
    """Rename an agent or override its model."""
    who = caller()
    agent = services().views.agents.owned(agent_id, who.user.id)
    changed = await services().agents.change(agent, data.name, data.model, who.origin)
    return jsonify(OneAgent(agent=_info(changed)).model_dump())


@blueprint.delete("/<agent_id>")
async def delete(agent_id: str) -> tuple[str, int]:
    """Delete an agent, its runner and its conversations; with `files=true` also the files of its home."""
    who = caller()
    agent = services().views.agents.owned(agent_id, who.user.id)
    for conversation in services().views.conversations.of_agent(agent.id):
        await delete_conversation(services(), conversation.id, who)
    await services().agents.delete(agent, who.origin)  # From here on nobody can start it again.
    await services().pool.dismiss(agent.id, who.origin)
    if request.args.get("files", "").lower() in {"1", "true", "yes"}:
        await services().pool.house.remove_home(agent)
    return "", 204


@blueprint.post("/<agent_id>/start")
@document_response(StartedAgent)
async def start(agent_id: str) -> Response:
    """Start an agent's runner and answer when it is ready."""
    who = caller()
    agent = services().views.agents.owned(agent_id, who.user.id)
    started = await start_runner(services(), agent, who.origin)
    return jsonify(StartedAgent(runner=started).model_dump())


@blueprint.delete("/<agent_id>/runner")
@document_response(Stopped)
async def stop(agent_id: str) -> Response:
    """Stop an agent's runner."""
    who = caller()
    agent = services().views.agents.owned(agent_id, who.user.id)
    return jsonify(Stopped(stopped=await stop_runner(services(), agent, who.origin)).model_dump())


def _info(agent: Agent) -> AgentInfo:
    supervisor = services().pool.find(agent.id)
    state = supervisor.state if supervisor else State.ABSENT
    return AgentInfo(
        id=agent.id,
        user_id=agent.user_id,
        backend=agent.backend,
        name=agent.name,
        model=agent.model,
        ordinal=agent.ordinal,
        created_at=int(agent.created_at),
        updated_at=int(agent.updated_at),
        running=state is State.READY,
        state=str(state),
        failure=supervisor.why_failed if supervisor else "",
        container_name=container_name(services(), agent),
        host_port=host_port(supervisor),
    )
