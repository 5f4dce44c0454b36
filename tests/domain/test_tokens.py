"""domain.tokens.rules."""

import pytest

from domain.errors import Invalid
from domain.tokens.rules import MAX_NAME, check_token, hash_of, new_secret, shown


def test_a_token_is_long_random_and_told_by_how_it_begins() -> None:
    made = {new_secret() for _ in range(1000)}
    assert len(made) == 1000
    for secret in made:
        assert secret.startswith("as-")
        assert len(secret) == 46
        assert secret.startswith(shown(secret))
        assert len(shown(secret)) == 10


def test_what_is_kept_of_a_token_does_not_tell_it() -> None:
    secret = new_secret()
    assert hash_of(secret) == hash_of(secret) != hash_of(new_secret())
    assert secret[3:] not in hash_of(secret)


def test_a_name_is_trimmed_and_an_end_to_come_is_good() -> None:
    assert check_token("  Laptop ", None, 100.0) == "Laptop"
    assert check_token("n" * MAX_NAME, 101, 100.0) == "n" * MAX_NAME


@pytest.mark.parametrize("name", ["", "  ", "n" * (MAX_NAME + 1), "a\nb", "a\0b", "a\u202eb"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_token(name, None, 100.0)
    assert refused.value.reason == "bad_name"


@pytest.mark.parametrize("expires_at", [0, 99, 100])
def test_an_end_that_has_passed_is_refused(expires_at: int) -> None:
    with pytest.raises(Invalid) as refused:
        check_token("Laptop", expires_at, 100.0)
    assert refused.value.reason == "bad_expiry"
