"""Generated types and values, compared with the slow walks and with the second implementation."""

from __future__ import annotations

from typing import Any

import pytest
from btserde import DecodeError, Decoder, Encoder, Limits, decode, encode
from btserde._api import _node
from btserde._codegen_decode import decoder_source
from btserde._codegen_encode import encoder_source
from btserde._walk_decode import walk_decode
from btserde._walk_encode import walk_encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import reference
from .strategies import typed_values

LIMITS = Limits()


class FellBackError(Exception):
    """Generated code left the case to the walk."""


def fall_back(*_: object) -> Any:
    raise FellBackError


def generated_encoder(tp: object) -> Any:
    source = encoder_source(_node(tp), LIMITS)
    source.share(walk=fall_back)
    return source.make("encoder")["encode"]


def generated_decoder(tp: object, of_view: bool) -> Any:
    source = decoder_source(_node(tp), LIMITS, of_view)
    source.share(walk=fall_back, other=fall_back)
    return source.make("decoder")["decode"]


many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@many
@given(typed_values())
def test_all_implementations_write_the_same_bytes(case: tuple[Any, Any]) -> None:
    tp, value = case
    expected = reference.encode(tp, value)
    assert generated_encoder(tp)(value) == expected
    assert walk_encode(_node(tp), value, LIMITS) == expected
    assert b"".join(Encoder(tp).encode_parts(value)) == expected


@many
@given(typed_values())
def test_all_implementations_read_the_value_back(case: tuple[Any, Any]) -> None:
    tp, value = case
    data = encode(value, tp)
    assert generated_decoder(tp, of_view=False)(data) == value
    assert generated_decoder(tp, of_view=True)(memoryview(data)) == value
    assert walk_decode(_node(tp), data, LIMITS) == value
    assert reference.decode(tp, data) == value
    for form in (bytearray(data), memoryview(b"x" + data)[1:]):
        assert decode(form, tp) == value


def agree_on(tp: Any, data: bytes) -> None:
    """All implementations refuse the bytes, or all read a value that is encoded by just these bytes."""
    try:
        value = walk_decode(_node(tp), data, LIMITS)
    except DecodeError:
        for of_view, form in ((False, data), (True, memoryview(data))):
            with pytest.raises(FellBackError):
                generated_decoder(tp, of_view)(form)
        with pytest.raises((ValueError, KeyError)):
            reference.decode(tp, data)
        return
    assert generated_decoder(tp, of_view=False)(data) == value
    assert generated_decoder(tp, of_view=True)(memoryview(data)) == value
    assert reference.decode(tp, data) == value
    assert encode(value, tp) == data


@many
@given(typed_values(), st.data())
def test_a_flipped_bit_is_refused_or_makes_another_canonical_value(case: tuple[Any, Any], data: st.DataObject) -> None:
    tp, value = case
    encoding = bytearray(encode(value, tp))
    if encoding:
        bit = data.draw(st.integers(0, len(encoding) * 8 - 1))
        encoding[bit // 8] ^= 1 << bit % 8
        agree_on(tp, bytes(encoding))


@many
@given(typed_values(), st.data())
def test_a_changed_byte_is_refused_or_makes_another_canonical_value(case: tuple[Any, Any], data: st.DataObject) -> None:
    tp, value = case
    encoding = bytearray(encode(value, tp))
    if encoding:
        encoding[data.draw(st.integers(0, len(encoding) - 1))] = data.draw(st.integers(0, 255))
        agree_on(tp, bytes(encoding))


@many
@given(typed_values())
def test_an_encoding_cut_anywhere_is_refused(case: tuple[Any, Any]) -> None:
    tp, value = case
    encoding = encode(value, tp)
    decoder = Decoder(tp)
    for size in range(len(encoding)):
        with pytest.raises(DecodeError):
            decoder.decode(encoding[:size])


@many
@given(typed_values(), st.binary(min_size=1, max_size=20))
def test_bytes_after_the_value_are_refused(case: tuple[Any, Any], more: bytes) -> None:
    tp, value = case
    with pytest.raises(DecodeError):
        decode(encode(value, tp) + more, tp)


@many
@given(typed_values(), st.binary(max_size=64))
def test_any_bytes_are_read_alike(case: tuple[Any, Any], data: bytes) -> None:
    agree_on(case[0], data)
