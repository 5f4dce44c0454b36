"""domain.users.passwords. Their length is tested with the other rules of accounts."""

import pytest

from domain.errors import Invalid
from domain.users.passwords import check_password

ABOUT = ("ada.lovelace@example.org", "ada.lovelace", "Ada Lovelace")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "Tr0ub4dor&3 and more",
        "pq rs tu vw",
        "ada likes ships",
        "\u00fcber-\u03b1\u03b2\u03b3\u03b4\u03b5\u03b6",
    ],
)
def test_a_password_that_nobody_would_guess_is_accepted(password: str) -> None:
    check_password(password, *ABOUT)


@pytest.mark.parametrize(
    "password",
    [
        "1234567890",
        "qwertyuiop",
        "PASSWORD123",
        "Password123",
        "iloveyou123",
        "aaaaaaaaaaaa",
        "abcabcabcabc",
        "1212121212",
    ],
)
def test_a_password_that_anybody_would_try_is_refused_in_whatever_case(password: str) -> None:
    with pytest.raises(Invalid, match="first that anybody would try") as refused:
        check_password(password)
    assert refused.value.reason == "weak_password"


@pytest.mark.parametrize(
    "password",
    [
        "ada.lovelace",
        "Ada.Lovelace@Example.org",
        "ada lovelace",
        "ADA LOVELACE",
        "ada.lovelace1815",
        "lovelace@example",
    ],
)
def test_a_password_that_is_built_around_its_users_address_or_name_is_refused(password: str) -> None:
    with pytest.raises(Invalid, match="your address or your name") as refused:
        check_password(password, *ABOUT)
    assert refused.value.reason == "weak_password"


@pytest.mark.parametrize("about", [("",), ("a@b", "a", "a"), ()])
def test_a_short_name_within_a_password_does_no_harm(about: tuple[str, ...]) -> None:
    check_password("correct horse battery staple", *about)
