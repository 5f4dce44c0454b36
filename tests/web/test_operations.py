"""Health, readiness, metrics, and the server's description of itself."""

import json
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.backends import ALL
from tests.harness.contract import has_shape, new_email, walk
from tests.harness.server import Server

METRICS = {
    "agentstack_event_append_queue",
    "agentstack_event_append_seconds",
    "agentstack_event_log_position",
    "agentstack_events_appended",
    "agentstack_projection_lag_events",
    "agentstack_proxy_connections",
    "agentstack_proxy_exchanges",
    "agentstack_request_seconds",
    "agentstack_requests",
    "agentstack_runner_start_seconds",
    "agentstack_runner_starts",
    "agentstack_runners",
    "agentstack_runners_ready",
    "agentstack_starts_waiting",
    "agentstack_turns",
    "agentstack_turns_running",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with backends that work and backends that do not."""
    with Server(tmp_path_factory.mktemp("operations"), backends=ALL) as running:
        yield running


def samples(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the value of every sample by name and labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_health_names_the_backends_that_can_be_used(server: Server) -> None:
    answer = server.client().get("/healthz")
    assert answer.status_code == 200
    has_shape(answer.json(), {"ok": bool, "backends": list, "prepull_status": dict})
    assert answer.json()["ok"] is True
    assert answer.json()["backends"] == [b["name"] for b in ALL if not b.get("disabled")]


def test_a_server_that_has_started_is_ready(server: Server) -> None:
    answer = server.client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True


def test_every_metric_has_its_name_and_a_line_of_help(server: Server) -> None:
    answer = server.client().get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    assert set(families) >= METRICS
    assert all(f.documentation for f in families.values())


def test_the_metrics_count_what_happens(server: Server) -> None:
    client = server.sign_up(new_email())
    before = samples(client)
    client.post("/api/runners/demo/start")
    client.post("/api/runners/dying/start")
    after = samples(client)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0)

    assert grown("agentstack_runner_starts_total", backend="demo", outcome="ready") == 1
    assert grown("agentstack_runner_starts_total", backend="dying", outcome="failed") == 1
    assert grown("agentstack_runners_ready", backend="demo") == 1
    assert grown("agentstack_events_appended_total", type="runner.ready") == 1
    assert grown("agentstack_requests_total", surface="web", method="POST", status="200") == 1
    assert grown("agentstack_requests_total", surface="web", method="POST", status="502") == 1
    assert grown("agentstack_event_log_position") > 0


def test_a_client_cannot_invent_labels_of_metrics(server: Server) -> None:
    client = server.sign_up(new_email())
    for n in range(5):
        client.request(f"INVENTED{n}", "/api/agents")
        client.request(f"INVENTED{n}", "/v1/models")
    assert "INVENTED" not in client.get("/metrics").text


def test_the_server_describes_itself_as_openapi(server: Server) -> None:
    answer = server.client().get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.")


def test_every_documented_path_names_all_its_parameters(server: Server) -> None:
    document = server.client().get("/openapi.json").json()
    for path, methods in document["paths"].items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for operation in methods.values():
            given = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert given == named, path


def test_every_reference_in_the_description_leads_somewhere(server: Server) -> None:
    document = server.client().get("/openapi.json").json()
    known = set(document["components"]["schemas"])
    for node in walk(document["paths"]):
        if "$ref" in node:
            assert node["$ref"].rpartition("/")[2] in known, json.dumps(node)


def test_every_answer_bears_the_id_of_its_request(server: Server) -> None:
    client = server.client()
    for path in ("/healthz", "/auth/me", "/v1/models", "/nope", "/"):
        assert len(client.get(path).headers["x-request-id"]) == 32
        assert client.get(path, headers={"x-request-id": "mine-1.2_3"}).headers["x-request-id"] == "mine-1.2_3"
        for bad in (b"a b", b"x" * 65, "é".encode(), b"<script>"):
            assert len(client.get(path, headers=[(b"x-request-id", bad)]).headers["x-request-id"]) == 32


def test_the_page_may_load_nothing_from_elsewhere(server: Server) -> None:
    answer = server.client().get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_answers_with_personal_data_are_not_stored(server: Server) -> None:
    client = server.sign_up(new_email())
    for path in ("/auth/me", "/api/agents", "/api/conversations"):
        assert client.get(path).headers["cache-control"] == "no-store"
