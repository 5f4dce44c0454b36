"""Whatever the query of the inspector says: it is answered, or it is the asker's mistake."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.web.inspector_setup import EVENTS, STREAMS, World, world

LIMITS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
NUMBERS = (
    st.integers(-5, 200)
    | st.integers(0, 2**70)
    | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**15, 10**18, 10**19, 10**20])
)
ODD = st.text(max_size=12) | st.sampled_from(
    ["\u0663\u0664", "1_000", "+1", " 1 ", "1e5", "0x10", "nan", "\u00b2", "%", "'", '"']
)
ZEROS = st.tuples(st.integers(0, 40), NUMBERS).map(lambda p: "0" * p[0] + str(p[1]))
NUMBER = NUMBERS.map(str) | ZEROS | ODD
TEXT = ODD | st.sampled_from(
    ["user:", "conversation:", "admin", "user.registered", "a:b:", ":", "\U0010ffff", "%' OR 1=1 --"]
)
QUERY = st.fixed_dictionaries(
    {},
    optional={
        "stream": TEXT,
        "prefix": TEXT,
        "type": st.lists(TEXT, max_size=5),
        "user": TEXT,
        "correlation": TEXT,
        "since": NUMBER,
        "until": NUMBER,
        "after": NUMBER,
        "before": NUMBER,
        "order": st.sampled_from(["newest", "oldest", "changes"]) | ODD,
        "limit": st.integers(1, 500).map(str) | NUMBER,
        "buckets": NUMBER,
        "version": NUMBER,
        "unknown": TEXT,
    },
)
PATHS = [EVENTS, f"{EVENTS}/timeline", f"{EVENTS}/export", STREAMS, f"{STREAMS}/admin", f"{STREAMS}/admin/state"]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a server with a past."""
    with world(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


@pytest.mark.parametrize("path", PATHS)
def test_any_query_is_answered_or_a_bad_query(past: World, path: str) -> None:
    seen: set[int] = set()

    @LIMITS
    @given(query=QUERY)
    @example(query={"until": "1"})
    @example(query={"since": "9007199254740992", "until": "9007199254740992"})
    @example(query={"after": "9007199254740992", "before": "0"})
    def fuzz(query: dict[str, str | list[str]]) -> None:
        answer = past.admin.get(path, params=query)
        seen.add(answer.status_code)
        assert answer.status_code in {200, 400}, (query, answer.text[:300])
        if answer.status_code == 400:
            assert answer.json()["code"] == "bad_query"
            assert answer.json()["detail"]

    fuzz()
    assert 200 in seen


@pytest.mark.parametrize("suffix", ["", "/state"])
def test_any_name_of_a_stream_is_answered_or_not_found(past: World, suffix: str) -> None:
    @LIMITS
    @given(name=st.text(min_size=1, max_size=30) | st.binary(min_size=1, max_size=20))
    def fuzz(name: str | bytes) -> None:
        raw = name.encode(errors="surrogatepass") if isinstance(name, str) else name
        quoted = "".join(f"%{byte:02x}" for byte in raw)
        answer = past.admin.get(f"{STREAMS}/{quoted}{suffix}")
        assert answer.status_code in {404, 308}, answer.text[:300]

    fuzz()


@LIMITS
@given(position=NUMBER.filter(lambda text: "/" not in text and text not in {"", ".", ".."}))
def test_any_position_is_answered_or_not_found(past: World, position: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in position.encode(errors="replace"))
    assert past.admin.get(f"{EVENTS}/{quoted}").status_code in {200, 404}
