"""What tests know of the HTTP contract: the operations of /openapi.json, and the shapes of answers."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.harness.server import Server

PUBLIC = frozenset(
    {
        ("get", "/auth/state"),
        ("post", "/auth/login"),
        ("post", "/auth/setup"),
        ("post", "/auth/signup"),
        ("get", "/healthz"),
        ("get", "/metrics"),
        ("get", "/readyz"),
    }
)
"""Operations for which nobody has to be signed in."""

NUMBERS = frozenset({"{seq}", "{position}"})
"""Parameters that are numbers: with anything else in their place, there is no such path."""
STREAMS = ("/stream", "/progress", "/live")
"""How the paths of event streams end."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path, with a body that is valid by its schema (None where none is taken)."""

    method: str
    path: str
    body: Any

    @property
    def public(self) -> bool:
        """Whether nobody has to be signed in."""
        return (self.method, self.path) in PUBLIC

    @property
    def url(self) -> str:
        """The path with its parameters filled in; nothing of that name exists."""
        parts = self.path.split("/")
        return "/".join("1" if p in NUMBERS else "none" if p.startswith("{") else p for p in parts)

    @property
    def endless(self) -> bool:
        """Whether it answers with a stream that ends only when something has happened."""
        return self.method == "get" and self.path.endswith(STREAMS)

    def call(self, client: httpx.Client, **options: Any) -> httpx.Response:
        """Make the call."""
        return client.request(self.method, self.url, json=self.body, **options)


def operations(server: Server) -> list[Operation]:
    """Return every operation that the server documents."""
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        answer = client.get("/openapi.json")
    assert answer.is_success, answer.text
    document = answer.json()
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            body = None if schema is None else _example(schema, document)
            found.append(Operation(method, path, body))
    return found


def new_email(name: str = "user") -> str:
    """Return an address that no test has used yet."""
    return f"{name}-{next(_numbers)}@example.org"


def has_shape(value: Any, shape: Mapping[str, Any]) -> None:
    """Assert that an object has the members of `shape` with values of those types; it may have more.

    A tuple lists the allowed types; None in it stands for null. `bool` is no `int` here.
    """
    assert isinstance(value, dict), value
    for name, kinds in shape.items():
        assert name in value, f"{name} is missing in {value}"
        allowed = tuple(type(None) if k is None else k for k in (kinds if isinstance(kinds, tuple) else (kinds,)))
        assert type(value[name]) in allowed, f"{name} is {value[name]!r}"


def is_problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Assert that an answer is a problem with this status, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    has_shape(problem, {"type": str, "title": str, "status": int, "detail": str, "code": str})
    assert problem["status"] == status
    assert problem["detail"]
    if code is not None:
        assert problem["code"] == code
    return problem


def is_openai_error(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Assert that an answer is an error in OpenAI's shape with this status, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    has_shape(error, {"message": str, "type": str, "param": (str, None), "code": (str, None)})
    assert error["message"]
    if code is not None:
        assert error["code"] == code
    return error


def walk(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a JSON document."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from walk(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from walk(value)


def _example(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _example(document["components"]["schemas"][name], document)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], document)
    if schema.get("type") == "object":
        required = schema.get("required", [])
        return {name: _example(schema["properties"][name], document) for name in required}
    if schema.get("type") == "boolean":
        return True
    if schema.get("type") == "integer":
        return 60
    if schema.get("type") == "string":
        return "x" * max(1, schema.get("minLength", 1))
    raise AssertionError(f"no example for {schema}")
