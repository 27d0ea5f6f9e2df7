"""The generated source: not what it does, which other tests compare, but that it is as short as promised."""

from __future__ import annotations

from typing import Any

from btserde import Limits
from btserde._api import _node
from btserde._codegen_decode import decoder_source
from btserde._codegen_encode import encoder_source

from .samples import Directory, Header, Numbers, ReadReply, Tree

LIMITS = Limits()


def decoder(tp: Any) -> str:
    return decoder_source(_node(tp), LIMITS, of_view=False).text


def encoder(tp: Any) -> str:
    return encoder_source(_node(tp), LIMITS).text.partition("def encode_pieces")[0]


def test_a_struct_of_fixed_size_is_one_call_of_struct() -> None:
    for tp in (Header, Numbers):
        assert encoder(tp).count("pack_") == 1
        assert decoder(tp).count("unpack_") == 1
        assert "pos" not in decoder(tp)


def test_a_length_is_packed_with_the_fields_before_it() -> None:
    assert "pack_QB(value.offset, " in encoder(ReadReply)
    assert "unpack_from_QB(data, 0)" in decoder(ReadReply)


def test_a_list_of_structs_has_no_loop_over_items() -> None:
    assert "for _ in range" not in decoder(Directory)
    assert "+=" not in encoder(Directory)


def test_a_struct_that_contains_itself_has_its_own_functions() -> None:
    assert encoder_source(_node(Tree), LIMITS).text.count("def column_") == 1
    assert decoder(Tree).count("def column_") == 1
