"""/api/admin/runners: what runs, of everybody."""

from quart import Blueprint, Response, jsonify
from quart_schema import document_response, tag_blueprint

from domain.runners.machine import State
from web.context import admin_origin, services
from web.runners.shapes import RunnerInfo, runner_info, stop_runner
from web.schemas import Answer, Stopped

blueprint = Blueprint("admin_runners", __name__, url_prefix="/api/admin/runners")
tag_blueprint(blueprint, ["admin"])


class UserRunner(RunnerInfo):
    """A runner, its id (of this start), the name of its agent, and whose it is."""

    runner_id: str
    agent_name: str
    user_id: str
    email: str


class AllRunners(Answer):
    """Everybody's runners."""

    runners: list[UserRunner]


@blueprint.get("")
@document_response(AllRunners)
async def runners() -> Response:
    """List what runs, starts or stops."""
    admin_origin()
    found = [
        UserRunner(
            **runner_info(services(), supervisor).model_dump(),
            runner_id=supervisor.run_now.runner_id if supervisor.run_now else "",
            agent_name=services().views.agents.owned(supervisor.agent.id, supervisor.agent.user_id).name,
            user_id=supervisor.agent.user_id,
            email=services().views.users.get(supervisor.agent.user_id).email,
        )
        for supervisor in services().pool.all()
        if supervisor.state not in {State.ABSENT, State.FAILED}
        and services().views.users.find(supervisor.agent.user_id)
    ]
    return jsonify(AllRunners(runners=found).model_dump())


@blueprint.delete("/<user_id>/<backend>")
@document_response(Stopped)
async def stop(user_id: str, backend: str) -> Response:
    """Stop the runners of a user's agents of one backend."""
    origin = admin_origin()
    user, kind = services().views.users.get(user_id), services().backends.get(backend)
    stopped = [
        await stop_runner(services(), agent, origin)
        for agent in services().views.agents.of_backend(user.id, kind.name)
    ]
    return jsonify(Stopped(stopped=any(stopped)).model_dump())
