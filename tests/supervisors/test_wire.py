"""supervisors.wire: what others send is decoded, parsed and held within bounds."""

import gzip
import itertools
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import TooMany, Unavailable
from supervisors.wire.coding import PIECE_BYTES, CodingError, Decoder
from supervisors.wire.documents import MAX_VALUES, DocumentError, read_document, read_line
from supervisors.wire.pace import CHUNKS_IN_A_ROW
from supervisors.wire.reading import each_piece, read_at_most
from supervisors.wire.transit import FREE_BYTES, Transit
from tests.harness.turns import counting_turns

MIB = 1 << 20


def _raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP ": gzip.compress,
    "deflate": zlib.compress,
}


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def _decoded(decoder: Decoder, parts: list[bytes]) -> bytes:
    found = b"".join(piece for part in parts for piece in decoder.pieces(part))
    decoder.end()
    return found


# -- content codings --------------------------------------------------------------------------------------


@given(st.binary(max_size=500), st.lists(st.integers(0, 2000), max_size=10), st.sampled_from(list(ENCODERS)))
def test_what_is_encoded_is_decoded_however_it_is_cut(data: bytes, cuts: list[int], coding: str) -> None:
    assert _decoded(Decoder(coding), _cut(ENCODERS[coding](data), cuts)) == data


@given(st.binary(min_size=1, max_size=500), st.lists(st.integers(0, 2000), max_size=10))
def test_deflate_without_its_wrapping_is_deflate_too(data: bytes, cuts: list[int]) -> None:
    assert _decoded(Decoder("deflate"), _cut(_raw_deflate(data), cuts)) == data


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(0, 500), max_size=10))
def test_several_texts_that_are_zipped_one_after_the_other_are_one(texts: list[bytes], cuts: list[int]) -> None:
    assert _decoded(Decoder("gzip"), _cut(b"".join(map(gzip.compress, texts)), cuts)) == b"".join(texts)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_taken_apart_piece_by_piece(coding: str) -> None:
    sizes = [len(piece) for piece in Decoder(coding).pieces(ENCODERS[coding](bytes(50 * MIB)))]
    assert sum(sizes) == 50 * MIB
    assert max(sizes) == PIECE_BYTES


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, identity", "nonsense", "x" * 5000])
def test_a_coding_that_is_not_known_is_named(coding: str) -> None:
    with pytest.raises(CodingError, match="is not known here") as refused:
        Decoder(coding)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("data", [b"plain text", b"\xff" * 100, b'{"a": 1}'], ids=["text", "bytes", "json"])
def test_what_is_not_encoded_as_it_says_is_named(coding: str, data: bytes) -> None:
    with pytest.raises(CodingError, match=f"is not {coding}|broke off"):
        _decoded(Decoder(coding), [data])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_breaks_off_is_not_taken_for_the_end(coding: str) -> None:
    with pytest.raises(CodingError, match="broke off"):
        _decoded(Decoder(coding), [ENCODERS[coding](b"a text" * 100)[:-6]])


def test_nothing_at_all_is_no_mistake() -> None:
    assert _decoded(Decoder("gzip"), []) == b""


# -- answers ----------------------------------------------------------------------------------------------


class Body(httpx.AsyncByteStream):
    """A body in chunks, of which `waits_every` come in one read. `read` is how many were taken."""

    def __init__(self, chunks: Iterator[bytes], waits_every: int = 10) -> None:
        self._chunks = chunks
        self._waits_every = waits_every
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.read += 1
            yield chunk
            if self.read % self._waits_every == 0:
                await trio.lowlevel.checkpoint()


async def test_no_more_is_read_than_was_asked_for() -> None:
    body = Body(itertools.repeat(b"x" * 1000))
    response = httpx.Response(200, stream=body)
    assert await read_at_most(response, 10_000) == (b"x" * 10_000, False)
    assert body.read <= 20


async def test_a_bomb_is_not_read_to_its_end() -> None:
    body = Body(iter(_cut(gzip.compress(bytes(100 * MIB)), list(range(0, 100_000, 1000)))))
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=body)
    data, is_all = await read_at_most(response, MIB)
    assert (len(data), is_all) == (MIB, False)
    assert body.read < 20


async def test_what_is_short_enough_is_all_there_is() -> None:
    response = httpx.Response(
        200, headers={"content-encoding": "gzip"}, stream=Body(iter([gzip.compress(b"short")]))
    )
    assert await read_at_most(response, 5) == (b"short", True)


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "gzip"])
async def test_others_get_their_turn_while_there_is_always_more(encoded: bool) -> None:
    chunks = [gzip.compress(bytes(64 * MIB))] if encoded else [b"x"] * 2000
    response = httpx.Response(
        200, headers={"content-encoding": "gzip"} if encoded else {}, stream=Body(iter(chunks), 10_000)
    )
    async with counting_turns() as turns:
        await each_piece(response, lambda _: False)
    assert turns.count >= (64 * MIB // PIECE_BYTES if encoded else 2000 // CHUNKS_IN_A_ROW) - 2


async def test_what_goes_wrong_with_a_piece_is_told_once_the_body_is_closed() -> None:
    def take(_: bytes) -> bool:
        raise TooMany("enough")

    body = Body(itertools.repeat(b"x"))
    with pytest.raises(TooMany, match="enough"):
        await each_piece(httpx.Response(200, stream=body), take)
    broken = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Body(itertools.repeat(b"no gzip")))
    with pytest.raises(CodingError):
        await read_at_most(broken, 100)


# -- documents --------------------------------------------------------------------------------------------


async def test_a_document_is_read() -> None:
    value = {"messages": [{"role": "user", "content": "[[[,,," * 50_000}]}
    assert await read_document(orjson.dumps(value)) == value
    assert read_line(orjson.dumps(value)) == value


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"1,", b'"",', b'{"a":'], ids=bytes.decode)
async def test_a_document_with_too_many_values_is_refused_before_it_is_parsed(piece: bytes) -> None:
    data = b"[" + piece * (MAX_VALUES + 1)
    with pytest.raises(DocumentError, match="more than 100000 values"):
        await read_document(data)
    with pytest.raises(DocumentError, match="more than 100000 values"):
        read_line(data)


async def test_what_is_no_json_is_told_so() -> None:
    with pytest.raises(DocumentError, match="not valid JSON"):
        await read_document(b"{")


# -- memory -----------------------------------------------------------------------------------------------


def test_nobody_takes_more_than_a_share_and_all_together_no_more_than_there_is() -> None:
    transit = Transit(10 * MIB, 4 * MIB)
    with transit.hold("ada") as first, transit.hold("ada") as second:
        first.grow(3 * MIB)
        with pytest.raises(TooMany, match="4 MiB together") as refused:
            second.grow(2 * MIB)
        assert refused.value.fields["retry_after"] > 0
        with transit.hold("bob") as third, transit.hold("cyd") as fourth:
            third.grow(4 * MIB)
            with pytest.raises(Unavailable, match="no memory left"):
                fourth.grow(4 * MIB)
            fourth.grow(0)
        second.grow(0)
    assert transit.statistics() == {"bytes": 0, "owners": 0}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3 * FREE_BYTES)), max_size=40))
def test_what_was_taken_is_given_back(steps: list[tuple[str, int]]) -> None:
    transit = Transit(8 * FREE_BYTES, 4 * FREE_BYTES)
    for owner in "abc":
        with transit.hold(owner) as hold:
            for whose, size in steps:
                if whose == owner:
                    try:
                        hold.grow(size)
                    except (TooMany, Unavailable):
                        break
            assert transit.statistics()["bytes"] <= 4 * FREE_BYTES
    assert transit.statistics() == {"bytes": 0, "owners": 0}


def test_what_is_small_is_not_counted() -> None:
    transit = Transit(0, 0)
    with transit.hold("ada") as hold:
        hold.grow(FREE_BYTES)
        with pytest.raises(TooMany):
            hold.grow(1)
