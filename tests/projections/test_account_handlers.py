"""Every handler of the projections that belong to an account: users, tokens, invitations, keys and usage."""

from dataclasses import astuple

import pytest

from domain.backends.definition import Backend
from domain.event import Event
from domain.invites.events import InviteCreated, InviteRevoked, InviteUsed
from domain.keys.events import KeyCleared, KeySet, KeyShared
from domain.keys.policy import Effective
from domain.sessions.events import SessionOpened
from domain.tokens.events import TokenCreated, TokenRevoked
from domain.usage.events import Tally, UsageRecorded
from domain.users.events import (
    BudgetSet,
    PasswordChanged,
    Role,
    UserDeleted,
    UserIdleChanged,
    UserRegistered,
    UserRenamed,
)
from projections.views import Views
from tests.projections.histories import record, rows


def _views(*events: Event) -> Views:
    """Return views of events that all are in one stream, at the times 1001, 1002, ..."""
    views = Views()
    views.apply(record([("stream", e) for e in events]))
    return views


def _user(id_: str, *, role: Role = "user") -> UserRegistered:
    return UserRegistered(
        user_id=id_, email=f"{id_}@example.org", name=id_, slug=f"slug-{id_}", role=role, password_hash="h"
    )


def _token(id_: str, *, user: str = "u1", models: tuple[str, ...] = ()) -> TokenCreated:
    return TokenCreated(
        token_id=id_, user_id=user, name=id_, hash=f"hash-{id_}", prefix="as-", scope="v1", models=models
    )


def _invite(id_: str, *, uses: int = 1, expires: int = 9000) -> InviteCreated:
    return InviteCreated(
        invite_id=id_, user_id="u1", note=id_, hash=f"hash-{id_}", prefix="inv-", uses=uses, expires_at=expires
    )


def _key(value: str, *, user: str = "u1", backend: str = "", name: str = "LLM_MODEL") -> KeySet:
    return KeySet(user_id=user, backend=backend, name=name, value=value)


def _tally(
    *, model: str = "m", agent: str = "a1", requests: int = 1, prompt: int = 0, completion: int = 0
) -> Tally:
    return Tally(
        agent_id=agent,
        backend="demo",
        model=model,
        requests=requests,
        errors=0,
        prompt_tokens=prompt,
        completion_tokens=completion,
        unknown=0,
    )


def _used(since: int, *tallies: Tally, user: str = "u1", **tokens: int) -> UsageRecorded:
    return UsageRecorded(user_id=user, since=since, until=since + 1, tallies=tallies, tokens_used=tokens)


# -- users ------------------------------------------------------------------------------------------------


def test_a_user_has_the_last_name_password_and_budget() -> None:
    users = _views(
        _user("u1"),
        UserRenamed(user_id="u1", name="Ada"),
        PasswordChanged(user_id="u1", password_hash="other"),
        BudgetSet(user_id="u1", monthly_tokens=5),
    ).users
    user = users.get("u1")
    assert (user.name, user.password_hash, user.monthly_tokens, user.created_at) == ("Ada", "other", 5, 1001.0)


def test_a_budget_can_be_taken_back() -> None:
    events = [BudgetSet(user_id="u1", monthly_tokens=n) for n in (5, 0, None)]
    assert _views(_user("u1"), *events[:2]).users.get("u1").monthly_tokens == 0
    assert _views(_user("u1"), *events).users.get("u1").monthly_tokens is None


def test_a_deleted_user_is_gone_with_all_that_was_theirs_and_nobody_elses() -> None:
    theirs = [
        UserIdleChanged(user_id="u1", backend="demo", idle_seconds=5),
        SessionOpened(session_id="s1", user_id="u1", device="d", expires_at=9000),
        _token("t1"),
        _key("v"),
        _used(86_400, _tally(prompt=5)),
    ]
    others = [
        _user("u2"),
        UserIdleChanged(user_id="u2", backend="demo", idle_seconds=5),
        SessionOpened(session_id="s2", user_id="u2", device="d", expires_at=9000),
        _token("t2", user="u2"),
        _key("v", user="u2"),
        _used(86_400, _tally(prompt=5), user="u2"),
    ]
    views = _views(_user("u1"), *theirs, *others, UserDeleted(user_id="u1"))
    assert views.users.find("u1") is None
    assert views.users.by_email("u1@example.org") is None
    assert views.users.idle_choice("u1", "demo") is None
    assert views.sessions.live("s1", 0.0) is None
    assert views.tokens.by_hash("hash-t1") is None
    assert views.keys.of_user("u1") == []
    assert views.usage.of_user("u1", 0, 10) == []
    assert views.usage.month("u1", 86_400).tokens == 0
    kept = {name: len(found) for name, found in rows(views).items() if found}
    assert kept == {
        "users": 1,
        "idle_choices": 1,
        "sessions": 1,
        "tokens": 1,
        "footprints": 1,
        "keys": 1,
        "usage_rows": 1,
        "usage_months": 1,
    }


@pytest.mark.parametrize(
    "late",
    [
        UserRenamed(user_id="u1", name="Ada"),
        PasswordChanged(user_id="u1", password_hash="other"),
        BudgetSet(user_id="u1", monthly_tokens=5),
        UserDeleted(user_id="u1"),
    ],
    ids=lambda e: e.TOPIC,
)
def test_late_news_does_not_bring_a_deleted_user_back(late: Event) -> None:
    assert not any(rows(_views(_user("u1"), UserDeleted(user_id="u1"), late)).values())


def test_users_whose_addresses_are_erased_are_told_from_each_other() -> None:
    """So a replay meets them that comes after their deletion."""
    erased = [_user(u).model_copy(update={"email": "", "name": "", "password_hash": ""}) for u in ("u1", "u2")]
    views = _views(*erased)
    assert [u.id for u in views.users.all()] == ["u1", "u2"]
    assert views.users.by_email("") is None
    assert _views(*erased, UserDeleted(user_id="u1"), UserDeleted(user_id="u2")).users.all() == []


# -- tokens -----------------------------------------------------------------------------------------------


def test_a_token_is_found_by_its_hash_until_it_is_revoked() -> None:
    tokens = _views(_token("t1"), _token("t2"), _token("x1", user="u2")).tokens
    found = tokens.by_hash("hash-t1")
    assert found is not None
    assert (found.id, found.user_id, found.scope, found.created_at, found.last_used_at) == (
        "t1",
        "u1",
        "v1",
        1001.0,
        None,
    )
    assert [t.id for t in tokens.of_user("u1")] == ["t1", "t2"]
    revoked = _views(_token("t1"), TokenRevoked(token_id="t1", user_id="u1")).tokens
    assert revoked.by_hash("hash-t1") is None
    assert revoked.find("t1") is None


def test_a_token_knows_when_it_was_used_last() -> None:
    views = _views(_token("t1"), _used(86_400, t1=86_410, gone=5), _used(86_500, t1=86_510))
    token = views.tokens.find("t1")
    assert token is not None
    assert token.last_used_at == 86_510
    assert views.tokens.find("gone") is None


@pytest.mark.parametrize(
    ("models", "model", "allowed"),
    [
        ((), "anything", True),
        (("demo",), "demo", True),
        (("demo",), "demo/large", True),
        (("demo/large",), "demo/large", True),
        (("demo/large",), "demo", False),
        (("demo/large",), "demo/small", False),
        (("demo", "other"), "other", True),
        (("demo",), "demon", False),
        (("demo",), "", False),
    ],
)
def test_a_token_is_good_for_the_models_it_was_made_for(
    models: tuple[str, ...], model: str, *, allowed: bool
) -> None:
    token = _views(_token("t1", models=models)).tokens.find("t1")
    assert token is not None
    assert token.allows(model) is allowed


# -- invitations ------------------------------------------------------------------------------------------


def test_an_invitation_is_good_until_it_is_used_up_expires_or_is_revoked() -> None:
    used = InviteUsed(invite_id="i1", user_id="u2")
    assert _views(_invite("i1", uses=2), used).invites.by_hash("hash-i1", 8999.0) is not None
    assert _views(_invite("i1", uses=2), used, used).invites.by_hash("hash-i1", 0.0) is None
    assert _views(_invite("i1")).invites.by_hash("hash-i1", 9000.0) is None
    assert _views(_invite("i1"), InviteRevoked(invite_id="i1")).invites.by_hash("hash-i1", 0.0) is None
    assert _views(_invite("i1")).invites.by_hash("hash-i2", 0.0) is None


def test_an_invitation_knows_where_its_stream_ends() -> None:
    used = InviteUsed(invite_id="i1", user_id="u2")
    found = _views(_invite("i1", uses=5), used, used).invites.find("i1")
    assert found is not None
    assert (found.used, found.version, found.note) == (2, 3, "i1")


def test_what_is_spent_or_has_expired_falls_out_when_another_one_is_made() -> None:
    events = [_invite("i1", expires=1002), _invite("i2"), InviteUsed(invite_id="i2", user_id="u2"), _invite("i3")]
    invites = _views(*events, _invite("i4")).invites
    assert [invites.find(i) is not None for i in ("i1", "i2", "i3", "i4")] == [False, False, True, True]
    assert [i.id for i in invites.good(1005.0)] == ["i3", "i4"]


# -- keys -------------------------------------------------------------------------------------------------


def test_the_last_value_of_a_variable_counts_for_each_backend_and_for_all() -> None:
    keys = _views(_key("a"), _key("b", backend="demo"), _key("c"), _key("d", user="u2")).keys
    assert keys.find("u1", "", "LLM_MODEL") == "c"
    assert keys.find("u1", "demo", "LLM_MODEL") == "b"
    assert keys.find("u1", "demo", "LLM_API_KEY") is None
    assert [k.value for k in keys.of_user("u1")] == ["c", "b"]


def test_a_value_that_was_cleared_is_gone() -> None:
    cleared = KeyCleared(user_id="u1", backend="", name="LLM_MODEL")
    assert _views(_key("a"), _key("b", backend="demo"), cleared, cleared).keys.find("u1", "", "LLM_MODEL") is None


def test_the_admins_value_is_everybodys_for_as_long_as_it_is_shared() -> None:
    backend = Backend.model_validate(
        {
            "name": "demo",
            "display_name": "D",
            "engine": "process",
            "command": ["x"],
            "user_overridable_env": ["LLM_MODEL"],
        }
    )
    before = [_user("u1", role="admin"), _user("u2"), _key("theirs")]
    shared, ended = KeyShared(name="LLM_MODEL", shared=True), KeyShared(name="LLM_MODEL", shared=False)
    counted = [
        _views(*events).effective(backend, "u2")["LLM_MODEL"]
        for events in (
            before,
            [*before, shared],
            [*before, shared, ended],
            [*before, shared, _key("mine", user="u2")],
        )
    ]
    unset = Effective("", "unset")
    assert counted == [unset, Effective("theirs", "shared"), unset, Effective("mine", "global")]
    alone = _views(_user("u2"), _user("u3"), _key("v", user="u3"), shared)
    assert alone.effective(backend, "u2")["LLM_MODEL"] == unset, "there is no admin, so nothing is shared"


# -- usage ------------------------------------------------------------------------------------------------


def test_usage_adds_up_by_day_agent_and_model() -> None:
    day = 86_400
    usage = _views(
        _used(day, _tally(requests=1, prompt=10, completion=5), _tally(model="n", requests=2)),
        _used(day + 500, _tally(requests=3, prompt=1)),
        _used(2 * day, _tally(requests=4), _tally(agent="a2", requests=5)),
        _used(day, _tally(requests=9), user="u2"),
    ).usage
    found = [(r.day, r.agent_id, r.model, r.requests, r.prompt_tokens) for r in usage.of_user("u1", 1, 2)]
    assert found == [(1, "a1", "m", 4, 11), (1, "a1", "n", 2, 0), (2, "a1", "m", 4, 0), (2, "a2", "m", 5, 0)]
    assert len(usage.of_user("u1", 2, 2)) == 2
    assert len(usage.all(1, 1)) == 3
    assert astuple(usage.of_user("u2", 0, 9)[0])[:4] == ("u2/1/a1/m", "u2", 1, "a1")


def test_the_tokens_of_a_month_are_those_of_its_days() -> None:
    """1 February 1970 is day 31."""
    usage = _views(
        _used(30 * 86_400, _tally(prompt=10, completion=1)),
        _used(31 * 86_400 - 1, _tally(prompt=100)),
        _used(31 * 86_400, _tally(prompt=5)),
        _used(31 * 86_400, _tally(prompt=7), user="u2"),
    ).usage
    assert usage.month("u1", 0.0).tokens == 111
    assert usage.month("u1", 31 * 86_400.0).tokens == 5
    assert usage.month("u1", 60 * 86_400.0).tokens == 0
