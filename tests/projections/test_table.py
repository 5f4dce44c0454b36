"""projections.table."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from projections.table import Changes, Table

NOTHING: Changes[Any] = Changes((), {})


@dataclass(frozen=True, slots=True)
class Row:
    """A row for the tests."""

    id: str
    owner: str
    n: int = 0


def test_a_row_is_found_by_its_key_until_it_is_removed() -> None:
    table = Table("rows", Row)
    table.put(Row("1", "a"))
    assert table.get("1") == Row("1", "a")
    assert table.get("2") is None
    table.remove("1")
    assert table.get("1") is None
    assert len(table) == 0


def test_the_columns_are_the_fields_with_the_key_first() -> None:
    assert Table("rows", Row).columns == ("id", "owner", "n")


def test_a_replaced_row_keeps_its_place() -> None:
    table = Table("rows", Row)
    for id_ in "123":
        table.put(Row(id_, "a"))
    table.put(Row("1", "a", 9))
    assert [r.id for r in table] == ["1", "2", "3"]


def test_changes_are_taken_once() -> None:
    table = Table("rows", Row)
    table.put(Row("1", "a"))
    table.put(Row("2", "a"))
    table.put(Row("2", "b"))
    table.remove("1")
    assert table.take_changes() == Changes(("1",), {"2": Row("2", "b")})
    assert table.take_changes() == NOTHING


def test_a_loaded_row_is_no_change() -> None:
    table = Table("rows", Row)
    index = table.index(lambda r: r.owner)
    table.load(Row("1", "a"))
    assert table.take_changes() == NOTHING
    assert index.all("a") == [Row("1", "a")]


def test_removing_what_is_not_there_is_no_change() -> None:
    table = Table("rows", Row)
    table.remove("1")
    assert table.take_changes() == NOTHING


def test_rows_whose_saving_failed_are_changes_again_as_they_are_by_then() -> None:
    table = Table("rows", Row)
    table.put(Row("1", "a"))
    table.put(Row("2", "a"))
    taken = table.take_changes()
    table.put(Row("1", "b"))
    table.remove("2")
    table.mark_changed(taken)
    assert table.take_changes() == Changes(("2",), {"1": Row("1", "b")})


def test_a_taken_change_does_not_follow_the_table() -> None:
    table = Table("rows", Row)
    table.put(Row("1", "a"))
    taken = table.take_changes()
    table.put(Row("1", "b"))
    assert taken == Changes((), {"1": Row("1", "a")})


def test_an_index_gives_rows_in_the_order_in_which_they_came() -> None:
    table = Table("rows", Row)
    index = table.index(lambda r: r.owner)
    for id_, owner in (("3", "a"), ("1", "b"), ("2", "a")):
        table.put(Row(id_, owner))
    assert [r.id for r in index.all("a")] == ["3", "2"]
    assert index.one("a") == Row("3", "a")
    assert index.one("c") is None
    assert index.all("c") == []


def test_a_row_moves_in_an_index_when_what_it_is_indexed_by_changes() -> None:
    table = Table("rows", Row)
    index = table.index(lambda r: r.owner)
    table.put(Row("1", "a"))
    table.put(Row("1", "b"))
    assert index.all("a") == []
    assert index.all("b") == [Row("1", "b")]


def test_a_list_from_an_index_does_not_follow_it() -> None:
    table = Table("rows", Row)
    index = table.index(lambda r: r.owner)
    table.put(Row("1", "a"))
    found = index.all("a")
    table.remove("1")
    assert found == [Row("1", "a")]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "remove"]), st.sampled_from("12345"), st.sampled_from("abc"), st.integers()
        )
    )
)
def test_an_index_always_agrees_with_the_table(deeds: list[tuple[str, str, str, int]]) -> None:
    table = Table("rows", Row)
    by_owner, by_both = table.index(lambda r: r.owner), table.index(lambda r: (r.owner, r.n % 2))
    for what, id_, owner, n in deeds:
        if what == "put":
            table.put(Row(id_, owner, n))
        else:
            table.remove(id_)
    for owner in "abc":
        assert {r.id: r for r in by_owner.all(owner)} == {r.id: r for r in table if r.owner == owner}
        for odd in (0, 1):
            expected = {r.id: r for r in table if (r.owner, r.n % 2) == (owner, odd)}
            assert {r.id: r for r in by_both.all((owner, odd))} == expected
    changes = table.take_changes()
    assert changes.rows == {r.id: r for r in table}
