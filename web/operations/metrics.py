"""Metrics, most of them read from the parts of the program when Prometheus asks."""

from collections.abc import Callable, Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from web.services import Services

REQUESTS = Counter("agentstack_requests_total", "HTTP requests", ["surface", "method", "status"])
REQUEST_SECONDS = Histogram(
    "agentstack_request_seconds",
    "Time from the request's head to the end of its answer; of a stream, all of it",
    ["surface"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 120),
)


class StackCollector(Collector):
    """The state of one running server. `proxy` tells the OpenAI surface's numbers."""

    def __init__(self, services: Services, proxy: Callable[[], dict[str, int]]) -> None:
        self._services = services
        self._proxy = proxy

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        services = self._services
        log = services.log.statistics()
        yield _gauge("agentstack_event_log_position", "Position of the newest event", log["position"])
        yield _gauge("agentstack_event_append_queue", "Appends that wait for the writer", log.get("queued", 0))
        yield _counter("agentstack_event_commits", "Commits of the event log", log.get("commits", 0))
        yield _counter("agentstack_event_log_reads", "Queries to the event log's file", log["reads"])
        calls = CounterMetricFamily("agentstack_engine_calls", "Calls to engines", labels=["engine"])
        for name, engine in services.pool.house.engines.items():
            calls.add_metric([name], engine.statistics()["calls"])
        yield calls
        lag = GaugeMetricFamily(
            "agentstack_projection_lag_events", "Events that are not in the saved views yet", labels=["projection"]
        )
        for projection in services.views.all:
            lag.add_metric(
                [projection.name], log["position"] - min(projection.position, services.views.saved_position)
            )
        yield lag
        missed = GaugeMetricFamily(
            "agentstack_projection_missed_events",
            "Events that could not be applied to a read model",
            labels=["projection"],
        )
        for projection in services.views.all:
            missed.add_metric([projection.name], projection.missed_count)
        yield missed
        unreadable = services.views.unreadable.count
        yield _gauge("agentstack_events_unreadable", "Events that cannot be read as they were written", unreadable)
        yield _gauge("agentstack_listener_failures", "Listeners that have raised", services.log.faults.total())
        runners = GaugeMetricFamily("agentstack_runners", "Runners by state", labels=["state"])
        for state, count in services.pool.statistics().items():
            runners.add_metric([state], count)
        yield runners
        ready = GaugeMetricFamily("agentstack_runners_ready", "Runners that are ready", labels=["backend"])
        for backend, count in services.pool.ready_by_backend().items():
            ready.add_metric([backend], count)
        yield ready
        gate = services.pool.house.gate.statistics()
        yield _gauge("agentstack_starts_waiting", "Starts that wait for a free place", gate["waiting"])
        yield _gauge("agentstack_turns_running", "Turns that run", services.turns.statistics()["running"])
        transit = services.transit.statistics()["bytes"]
        yield _gauge("agentstack_transit_bytes", "Memory of requests and answers that are under way", transit)
        proxy = self._proxy()
        yield _gauge("agentstack_proxy_exchanges", "Requests under way through /v1", proxy["exchanges"])
        yield _gauge("agentstack_proxy_connections", "Open connections to runners", proxy["connections"])


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
