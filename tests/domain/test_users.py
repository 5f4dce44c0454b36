"""domain.users.rules."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.users.events import AdminAppointed, EmailClaimed, Role, SlugClaimed, UserRegistered
from domain.users.passwords import check_password
from domain.users.rules import display_name, normal_email, register, slug_base


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("ada@example.org", "ada@example.org"),
        ("  Ada@Example.ORG \n", "ada@example.org"),
        ("\uff41da@example.org", "ada@example.org"),  # A full-width a.
        ("stra\u00dfe@example.org", "strasse@example.org"),
        ("root@localhost", "root@localhost"),
        ("a.b+c@x.y.z", "a.b+c@x.y.z"),
    ],
)
def test_an_address_is_compared_in_its_normal_form(written: str, compared: str) -> None:
    assert normal_email(written) == compared


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@@example.org",
        "ada@exa mple.org",
        "ada@example..org",
        "ada@.org",
        "ada@example.org.",
        "ada\x00@example.org",
        "ada\u202e@example.org",
        "x" * 65 + "@example.org",
        "ada@" + "x" * 251,
    ],
)
def test_what_cannot_be_an_address_is_refused(written: str) -> None:
    with pytest.raises(Invalid) as refused:
        normal_email(written)
    assert refused.value.reason == "bad_email"


@pytest.mark.parametrize("length", [10, 11, 256])
def test_a_password_of_10_to_256_characters_is_accepted(length: int) -> None:
    check_password(("pq rs " * length)[:length])


@pytest.mark.parametrize(("length", "said"), [(0, "short"), (9, "short"), (257, "long")])
def test_a_password_of_another_length_is_refused(length: int, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refused:
        check_password(("pq rs " * length)[:length])
    assert refused.value.reason == "weak_password"


@pytest.mark.parametrize(
    ("name", "shown"), [(None, "ada"), ("", "ada"), ("  ", "ada"), (" Ada L. ", "Ada L."), ("n" * 80, "n" * 80)]
)
def test_the_name_is_the_given_one_or_what_stands_before_the_at(name: str | None, shown: str) -> None:
    assert display_name(name, "ada@example.org") == shown


def test_a_name_of_more_than_80_characters_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        display_name("n" * 81, "ada@example.org")
    assert refused.value.reason == "bad_name"


@pytest.mark.parametrize(
    ("address", "slug"),
    [
        ("ada@example.org", "ada"),
        ("Ada.Lovelace+home@example.org", "adalovelacehome"),
        ("j\u00f6rg@example.org", "jorg"),
        ("\u0430\u0434\u0430@example.org", "user"),  # Nothing of Cyrillic is ASCII.
        ("--a--b--@example.org", "ab"),
        ("x" * 60 + "@example.org", "x" * 24),
        ("abcdefghijklmnopqrstuvw.xyz@example.org", "abcdefghijklmnopqrstuvwx"),
    ],
)
def test_the_slug_starts_from_the_readable_part_of_the_address(address: str, slug: str) -> None:
    assert slug_base(address) == slug


@given(local=st.text(max_size=70))
def test_a_slug_can_always_name_folders_and_containers(local: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?", slug_base(f"{local}@example.org"))


@pytest.mark.parametrize("role", ["user", "admin"])
def test_an_account_claims_its_address_its_slug_and_the_admin_seat_as_first_events(role: Role) -> None:
    events = register(
        user_id="u1",
        email="Ada@example.org",
        name="Ada",
        slug="ada",
        role=role,
        password_hash="$argon2id$...",
        email_key="0f",
    )
    expected = {
        "email:0f": EmailClaimed(user_id="u1"),
        "slug:ada": SlugClaimed(user_id="u1"),
        "user:u1": UserRegistered(
            user_id="u1",
            email="Ada@example.org",
            name="Ada",
            slug="ada",
            role=role,
            password_hash="$argon2id$...",
        ),
    }
    if role == "admin":
        expected["admin"] = AdminAppointed(user_id="u1")
    assert events == expected
