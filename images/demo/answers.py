"""What the demo agent says. There is no model: it picks one of a few texts by words in the question."""

_HELLO = """\
Hello! I am the **demo agent** of agent-stack. There is no language model behind me: I show how an agent \
starts, streams and stops, and you need no key to try it.

You wrote:

> {question}

This conversation holds {count} message(s) of yours so far. Ask me for *code*, a *table*, something *long*, or \
connect a real agent in `backends.json`.
"""

_CODE = """\
I am a **demo agent** without a model, but this is how code looks here:

```python
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:18000/v1", api_key="your token")
stream = client.chat.completions.create(
    model="demo",
    messages=[{{"role": "user", "content": "Hello"}}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="")
```

Inline code such as `stream=True` works too.
"""

_TABLE = """\
A **demo agent** has no opinions, so here is a table of facts about me:

| what | value |
| --- | --- |
| model | none |
| key needed | no |
| streams | yes |
| your messages so far | {count} |
"""

_PARAGRAPH = """\
{number}. This is the demo agent, still talking, so that you can close the tab in the middle and come back: the \
answer belongs to the server, not to the tab. Every message is an event in one log, and this one is no exception.
"""

_LONG = "You asked the **demo agent** for something long, so here it is.\n\n" + "\n".join(
    _PARAGRAPH.format(number=n) for n in range(1, 31)
)


def answer(messages: list[dict[str, object]]) -> str:
    """Return the answer to a list of chat messages."""
    questions = [_text(m.get("content")) for m in messages if m.get("role") == "user"]
    question = questions[-1] if questions else ""
    words = question.casefold()
    if "long" in words:
        return _LONG
    template = _CODE if "code" in words else _TABLE if "table" in words else _HELLO
    quoted = "\n> ".join(question.strip().splitlines()[:20]) or "(nothing)"
    return template.format(question=quoted, count=len(questions))


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return content if isinstance(content, str) else ""
