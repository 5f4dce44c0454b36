"""All declared backends, and the one place where a model's name is resolved."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from domain.backends.definition import Backend
from domain.errors import NotFound, Unavailable


class BackendsFileError(Exception):
    """The declaration cannot be used. Every mistake is listed with its entry and key."""


class Backends:
    """The declared backends in their declared order."""

    def __init__(self, backends: tuple[Backend, ...]) -> None:
        self._by_name = {b.name: b for b in backends}
        self._by_model = {model: b for b in backends for model in b.models}

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._by_name.values())

    def __repr__(self) -> str:
        return f"<Backends {', '.join(self._by_name)}>"

    def get(self, name: str) -> Backend:
        """Return a backend by name. Raises NotFound."""
        if name not in self._by_name:
            known = ", ".join(self._by_name) or "none"
            raise NotFound(f"There is no backend {name!r}. Declared: {known}.", code="unknown_backend")
        return self._by_name[name]

    def enabled(self, name: str) -> Backend:
        """Return a backend that may be started. Raises NotFound, or Unavailable when it is disabled."""
        backend = self.get(name)
        if backend.disabled:
            raise Unavailable(
                f"The backend {name!r} is switched off by the admin (`disabled` in backends.json).",
                code="backend_disabled",
            )
        return backend

    def for_model(self, model: str) -> Backend:
        """Return the backend that answers for `model`: `<backend>`, an extra model, or `<backend>/<anything>`.

        Raises NotFound (code `model_not_found`) when none does.
        """
        backend = self._by_model.get(model) or self._by_name.get(model.partition("/")[0])
        if backend is None or backend.disabled:
            known = ", ".join(m for b in self if not b.disabled for m in b.models) or "none"
            raise NotFound(
                f"The model {model[:200]!r} does not exist here. Available: {known}.", code="model_not_found"
            )
        return backend


class _Object(dict[str, Any]):
    """A JSON object that knows which of its keys were given twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.repeated = sorted({key for key in keys if keys.count(key) > 1})


def _repeated_keys(value: object) -> list[str]:
    """Return every key that is given twice somewhere in `value`."""
    if isinstance(value, list):
        return [key for item in value for key in _repeated_keys(item)]
    if isinstance(value, _Object):
        return value.repeated + [key for item in value.values() for key in _repeated_keys(item)]
    return []


def parse_backends(text: str, source: str) -> Backends:
    """Read a backends file: `{"backends": [{"name": ...}, ...]}`; `$schema` may be beside it, for editors.

    `source` is the file's name for messages. Raises BackendsFileError that lists every unknown key, wrong
    value, repeated name and repeated model, with the entry they are in.
    """
    try:
        document = json.loads(text, object_pairs_hook=_Object)
    except ValueError as error:
        raise BackendsFileError(f"{source}: not valid JSON: {error}.") from None
    entries = document.get("backends") if isinstance(document, dict) else None
    if not isinstance(entries, list) or document.keys() - {"backends", "$schema"}:
        raise BackendsFileError(f'{source}: the file must be one object of the form {{"backends": [...]}}.')

    found: list[Backend] = []
    mistakes: list[str] = [f"the key {key!r} is given twice in the outermost object" for key in document.repeated]
    owners: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for index, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        where = f"entry {index + 1} ({name!r})" if isinstance(name, str) else f"entry {index + 1}"
        mistakes += [f"{where}: {key}: given twice in one object" for key in _repeated_keys(entry)]
        try:
            backend = Backend.model_validate(entry)
        except ValidationError as error:
            mistakes += [
                f"{where}: {'.'.join(map(str, e['loc'])) or 'entry'}: {_in_words(e['type'], e['msg'])}"
                for e in error.errors(include_url=False, include_input=False)
            ]
            continue
        prefix = backend.container_prefix or backend.name
        if prefix in prefixes and backend.name not in owners:
            mistakes.append(f"{where}: container_prefix: {prefix!r} is already used by {prefixes[prefix]}")
        prefixes.setdefault(prefix, where)
        for number, model in enumerate(backend.models):
            if model in owners:
                key = "extra_models" if number else "name"
                mistakes.append(f"{where}: {key}: {model!r} is already used by {owners[model]}")
            owners.setdefault(model, where)
        found.append(backend)
    if mistakes:
        listed = "\n".join(f"  {m}" for m in mistakes)
        raise BackendsFileError(f"{source}: {len(mistakes)} mistake(s):\n{listed}")
    return Backends(tuple(found))


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a backends file, for editors that check while one types."""
    backend = Backend.model_json_schema(ref_template="#/$defs/{model}")
    shared = backend.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Backends of agent-stack",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "backends": {"type": "array", "items": {"$ref": "#/$defs/Backend"}},
        },
        "required": ["backends"],
        "additionalProperties": False,
        "$defs": {**shared, "Backend": backend},
    }


def _in_words(kind: str, message: str) -> str:
    return "unknown key; remove it or check its spelling" if kind == "extra_forbidden" else message
