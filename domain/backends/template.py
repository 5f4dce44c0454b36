"""Filling variables into the files of a home, so that no value can break the file that it is put into.

`${NAME}` is replaced; `$${NAME}` becomes `${NAME}`, for programs that look into their environment themselves.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

_VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class TemplateError(Exception):
    """The template cannot be filled. The message names the variable or the place."""


def render(text: str, suffix: str, values: Mapping[str, str]) -> str:
    """Return `text` with its variables replaced, as `suffix` (`.json`, `.yaml`, `.yml`) calls for.

    JSON and YAML are read, filled and written anew: a value is part of a text, whatever is in it; comments do not
    stay. In any other file it is put in as it is. Raises TemplateError for a variable that has no value, and for a
    template that is not valid itself.
    """
    if suffix == ".json":
        try:
            document = json.loads(text)
        except ValueError as error:
            raise TemplateError(f"it is not valid JSON: {error}") from None
        return json.dumps(_filled(document, values), indent=2) + "\n"
    if suffix in {".yaml", ".yml"}:
        try:
            document = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:
            raise TemplateError(f"it is not valid YAML: {error}") from None
        found: str = yaml.safe_dump(_filled(document, values), sort_keys=False)
        return found
    return _fill(text, values)


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _fill(value, values)
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    return value


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: _value(found, values), text)


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    if found[1]:
        return found[0][1:]
    try:
        return values[found[2]]
    except KeyError:
        raise TemplateError(f"the variable {found[2]} has no value") from None
