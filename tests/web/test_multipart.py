"""web.openai.body: the model that a form names, found by nothing but the boundaries between its parts."""

import pytest

from domain.errors import Invalid
from web.openai.body import MOST_PARTS, multipart_model

TYPE = 'multipart/form-data; boundary="x y z"'
END = b"--x y z--\r\n"
MODEL = 'form-data; name="model"'
AUDIO = (
    b'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg',
    b"\x00\xff\r\n",
)


def field(name: str, value: bytes = b"x") -> bytes:
    """Return a part with one value."""
    return part(f'Content-Disposition: form-data; name="{name}"'.encode(), value)


def part(headers: bytes, content: bytes) -> bytes:
    """Return a part of a form."""
    return b"--x y z\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


OTHERS = [field("language", b"en"), part(*AUDIO)]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("before", [b"", b"This is a form.\r\n"])
def test_the_model_is_found_first_last_and_between(place: int, before: bytes) -> None:
    parts = [*OTHERS[:place], field("model", b"scripted"), *OTHERS[place:]]
    assert multipart_model(before + b"".join(parts) + END, TYPE) == "scripted"


@pytest.mark.parametrize(
    "headers",
    [
        b'Content-Disposition: form-data; name="model"',
        b"Content-Disposition: form-data; name=model",
        b'content-disposition:form-data;name="model"',
        b'CONTENT-DISPOSITION: form-data; filename="f"; name="model"',
        b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"',
    ],
)
def test_the_models_name_is_found_however_it_is_written(headers: bytes) -> None:
    assert multipart_model(part(headers, b" scripted\r\n") + END, TYPE) == "scripted"


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("multipart/form-data; boundary=----Form7", b"----Form7"),
        ('multipart/form-data; charset=utf-8; boundary="----Form7"', b"----Form7"),
        ("Multipart/Form-Data; Boundary=----Form7", b"----Form7"),
    ],
)
def test_the_boundary_may_be_quoted_or_not(kind: str, boundary: bytes) -> None:
    body = (field("model", b"scripted") + END).replace(b"x y z", boundary)
    assert multipart_model(body, kind) == "scripted"


@pytest.mark.parametrize(
    "content",
    [
        b'Content-Disposition: form-data; name="model"\r\n\r\nstolen',
        b'\r\n\r\nContent-Disposition: form-data; name="model"\r\n\r\nstolen\r\n',
        b'ends --x y z\r\nContent-Disposition: form-data; name="model"\r\n\r\nstolen',
        b'\r\n--x y\r\nContent-Disposition: form-data; name="model"\r\n\r\nstolen',
        b'\n--x y z\nContent-Disposition: form-data; name="model"\n\nstolen',
        b" --x y z--\r\n",
    ],
)
@pytest.mark.parametrize("model", ["", "scripted"])
def test_a_file_that_looks_like_a_part_is_a_file(content: bytes, model: str) -> None:
    body = part(AUDIO[0], content) + (field("model", model.encode()) if model else b"") + END
    assert multipart_model(body, TYPE) == model


def test_what_follows_a_boundary_is_a_part_wherever_it_stands() -> None:
    assert multipart_model(part(AUDIO[0], b"\r\n" + field("model", b"second")) + END, TYPE) == "second"


@pytest.mark.parametrize(
    "headers",
    [
        b'Content-Disposition: form-data; name="file"; filename="; name=model"',
        b'Content-Disposition: form-data; name="models"',
        b'Content-Type: text/plain; name="model"',
        b'X-Content-Disposition: form-data; name="model"',
        b"",
    ],
)
def test_another_part_is_not_the_model(headers: bytes) -> None:
    assert multipart_model(part(headers, b"stolen") + END, TYPE) == ""


def test_what_comes_after_the_end_is_not_looked_at() -> None:
    assert multipart_model(field("a") + END + field("model", b"late") + END, TYPE) == ""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (field("model", b"scripted") + END, "multipart/form-data"),
        (field("model", b"scripted") + END, "multipart/form-data; boundary="),
        (field("model", b"scripted") + END, 'multipart/form-data; boundary=""'),
        (field("model", b"scripted") + END, "multipart/form-data; boundary=another"),
        (b"", TYPE),
        (b"no form at all", TYPE),
        (field("model", b"scripted"), TYPE),
        (field("a") + b'--x y z\r\nContent-Disposition: form-data; name="model"', TYPE),
        (field("a") + b"--x y z\r\nno headers\r\n" + END, TYPE),
        (part(AUDIO[0], b'--x y z\r\nContent-Disposition: form-data; name="model"\r\n\r\nstolen') + END, TYPE),
        (part(b"X: " + b"x" * 20_000, b"") + END, TYPE),
        (field("a") * 100_000, TYPE),
    ],
)
def test_a_form_without_boundary_or_end_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(Invalid) as refused:
        multipart_model(body, kind)
    assert refused.value.reason == "invalid_multipart"


def test_of_a_form_so_many_parts_are_looked_at_and_no_more() -> None:
    last = field("model", b"scripted") + END
    assert multipart_model(field("a") * (MOST_PARTS - 1) + last, TYPE) == "scripted"
    assert multipart_model(field("a") * (MOST_PARTS - 1) + END, TYPE) == ""
    for body in (field("a") * MOST_PARTS + last, field("a") * (MOST_PARTS + 1) + END):
        with pytest.raises(Invalid, match=f"more than {MOST_PARTS} parts"):
            multipart_model(body, TYPE)
