"""What a person can do about an error that an agent reports of its model."""

import re

from domain.backends.definition import Backend

_CAUSES = (
    (r"\b40[13]\b|unauthori[sz]ed|forbidden|invalid.{0,20}key|incorrect.{0,20}key|bad key", "KEY", "the key"),
    (r"\b404\b|model.{0,40}(not found|not exist|unknown)", "MODEL", "the model's name"),
    (r"\b(408|50[0234])\b|connect|timed? ?out|timeout|unreachable|resolve", "URL", "the address of the model"),
)
_LIMIT = re.compile(r"\b429\b|rate.?limit|quota|insufficient", re.IGNORECASE)


def hint(backend: Backend, words: str) -> str:
    """Return a sentence to add to an agent's error, "" when its words tell nothing."""
    if _LIMIT.search(words):
        return " The provider of the model limits its use: wait, or look at the account there."
    for pattern, part, what in _CAUSES:
        names = [name for name in backend.user_overridable_env if part in name]
        if names and re.search(pattern, words, re.IGNORECASE):
            return f" Is {what} right ({', '.join(names)})?"
    return ""
