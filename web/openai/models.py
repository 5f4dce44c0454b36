"""GET /v1/models: what a client may ask for as `model`. No runner is started."""

from typing import Any

from domain.backends.definition import Backend
from domain.runners.machine import State
from web.auth.guard import Caller
from web.services import Services


def model_list(services: Services, caller: Caller) -> dict[str, Any]:
    """Return every enabled backend's name and extra models; for an API token, those that it may be used for."""
    found = [
        model_info(services, caller.user.id, backend, model)
        for backend in services.backends
        if not backend.disabled
        for model in backend.models
        if caller.may_use(model)
    ]
    return {"object": "list", "data": found}


def model_info(services: Services, user_id: str, backend: Backend, model: str) -> dict[str, Any]:
    """Describe one model; `running` tells whether the caller's runner behind it is up."""
    agent = services.views.agents.first(user_id, backend.name)
    supervisor = services.pool.find(agent.id) if agent else None
    return {
        "id": model,
        "object": "model",
        "created": 0,
        "owned_by": "agent-stack",
        "root": backend.name,
        "running": bool(supervisor and supervisor.state is State.READY),
        "display_name": backend.display_name,
    }
