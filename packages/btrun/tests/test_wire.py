"""What runtimes say to each other, byte by byte: the short ways give what the codec gives, and garbage is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btrun import Ask, DiedError
from btrun import _wire as wire
from btrun.errors import DeclarationError
from btserde import SerdeError
from bttp import RemoteError
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace


class Echo(Ask[bytes], frozen=True):
    value: bytes


class Nothing(Ask[None], frozen=True):
    pass


CHAINS = st.lists(st.text(max_size=5), max_size=3).map(tuple)
U64S = st.integers(0, 2**64 - 1)


@given(value=st.binary(max_size=300), incarnation=U64S, chain=CHAINS)
def test_a_request_of_head_and_body_is_its_encoding(value: bytes, incarnation: int, chain: tuple[str, ...]) -> None:
    known = wire.message_type(Echo)
    body = known.body(Echo(value))
    request = wire.Request(
        wire.Verb.ASK, incarnation=incarnation, name="Echo", schema=known.schema, chain=chain, body=memoryview(body)
    )
    made = wire.request_head(wire.Verb.ASK, incarnation, known, chain) + wire.body_of(body)
    assert made == wire.encode_request(request)


@given(st.lists(st.tuples(st.binary(max_size=140), st.integers(0, 6), CHAINS), max_size=20))
def test_heads_give_what_decoding_gives(stream: list[tuple[bytes, int, tuple[str, ...]]]) -> None:
    heads, known = wire.Heads(), wire.message_type(Echo)
    for value, incarnation, chain in stream:
        data = wire.request_head(wire.Verb.TELL, incarnation, known, chain) + wire.body_of(known.body(Echo(value)))
        head, body = heads.decode(memoryview(data))
        assert replace(head.request, body=body) == wire.decode_request(data)
        assert len(heads._known) <= wire.MAX_HEADS


@given(
    flips=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 255)), min_size=1, max_size=3), cut=st.integers(0, 9)
)
def test_heads_refuse_what_decoding_refuses(flips: list[tuple[int, int]], cut: int) -> None:
    heads, known = wire.Heads(), wire.message_type(Echo)
    good = wire.request_head(wire.Verb.TELL, 7, known) + wire.body_of(known.body(Echo(b"twenty bytes or more")))
    heads.decode(good)
    bad = bytearray(good)
    for place, mask in flips:
        bad[place % len(bad)] ^= mask
    data = bytes(bad[: len(bad) - cut])
    try:
        expected = wire.decode_request(data)
    except SerdeError:
        with pytest.raises(SerdeError):
            heads.decode(data)
    else:
        head, body = heads.decode(data)
        assert replace(head.request, body=body) == expected


def test_a_long_head_is_not_kept() -> None:
    heads, known = wire.Heads(), wire.message_type(Echo)
    heads.decode(wire.request_head(wire.Verb.ASK, 1, known, ("x" * wire.MAX_HEAD,)) + wire.body_of(b""))
    assert heads._known == {}


@given(value=st.binary(max_size=300))
def test_an_answer_comes_back_as_it_was_and_is_its_encoding(value: bytes) -> None:
    answer = wire.answer_type(Echo)
    reply = answer.reply(value)
    assert answer.read(memoryview(reply)) == value
    decoded = wire.decode_reply(reply)
    assert isinstance(decoded, wire.Answered)
    assert reply == wire.encode_reply(decoded)


def test_an_empty_answer_is_none() -> None:
    answer = wire.answer_type(Nothing)
    assert answer.read(memoryview(answer.reply(None))) is None


def test_a_failure_comes_back_as_what_it_was() -> None:
    answer = wire.answer_type(Echo)
    for error, kind in ((DiedError("it ended"), DiedError), (BlocktreeError("busy", kind=Kind.BUSY), RemoteError)):
        with pytest.raises(kind, match=str(error)):
            answer.read(memoryview(wire.encode_reply(wire.failure(error))))


@given(reply=st.binary(max_size=40))
def test_any_bytes_are_an_answer_or_an_error(reply: bytes) -> None:
    with suppress(BlocktreeError, SerdeError):
        assert isinstance(wire.answer_type(Echo).read(memoryview(reply)), bytes)


def test_an_answer_of_another_type_is_refused_where_it_is_given() -> None:
    with pytest.raises(DeclarationError, match="the answer to Echo cannot be encoded"):
        wire.answer_type(Echo).reply("text")
