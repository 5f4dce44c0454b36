"""API tokens of users under test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai

from tests.harness.server import Server

TOKENS = "/api/me/tokens"
Json = dict[str, Any]


def new_token(client: httpx.Client, name: str = "program", **more: Any) -> tuple[Json, str]:
    """Make a token; return what is told of it, and its secret."""
    answer = client.post(TOKENS, json={"name": name, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["token"], answer.json()["secret"]


def bearer(secret: str) -> dict[str, str]:
    """Return the header that presents a token."""
    return {"authorization": f"Bearer {secret}"}


@contextmanager
def sdk(server: Server, secret: str, **options: Any) -> Iterator[openai.OpenAI]:
    """Return the `openai` package's client with a token."""
    with openai.OpenAI(
        base_url=f"{server.url}/v1",
        api_key=secret,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(trust_env=False),
        **options,
    ) as client:
        yield client


def ask(client: openai.OpenAI, text: str = "hi", model: str = "demo", **more: Any) -> str:
    """Ask a model, and return what it says."""
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)
    return answer.choices[0].message.content or ""
