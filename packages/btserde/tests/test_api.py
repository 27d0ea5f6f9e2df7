"""The public functions and classes."""

from __future__ import annotations

from typing import Any

import btserde
import pytest
from btserde import U8, DecodeError, Decoder, EncodeError, Encoder, Limits, SerdeError, decode, encode

from .samples import Close, Header, Open, Request

HEADER = Header(1, 2, 3, bytes(16))


def test_a_value_is_encoded_as_its_own_class_unless_told() -> None:
    assert encode(HEADER) == encode(HEADER, Header) == Encoder(Header).encode(HEADER)


def test_a_tagged_struct_encoded_alone_is_decoded_as_a_union() -> None:
    for message in (Open(path="p"), Close(handle=3)):
        assert decode(encode(message), Request) == message


def test_codecs_of_a_type_are_made_once() -> None:
    assert Encoder(Header).encode is Encoder(Header).encode
    assert Decoder(Header).decode is Decoder(Header, Limits()).decode
    assert Decoder(Header).decode is not Decoder(Header, Limits(max_size=100)).decode


def test_every_error_is_a_serde_error() -> None:
    attempts: list[Any] = [lambda: encode(1, int), lambda: encode(-1, U8), lambda: decode(b"", U8)]
    for attempt in attempts:
        with pytest.raises(SerdeError):
            attempt()


def test_errors_read_well() -> None:
    assert str(EncodeError("out of range", "a.b")) == "a.b: out of range"
    assert str(EncodeError("out of range")) == "value: out of range"
    assert str(DecodeError("bad", "a[1]", 7)) == "a[1]: bad (at byte 7)"


def test_all_that_is_public_is_there() -> None:
    assert all(hasattr(btserde, name) for name in btserde.__all__)
