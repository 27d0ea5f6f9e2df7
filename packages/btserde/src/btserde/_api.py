"""Encoders and decoders as the user sees them, made once for each type."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, TypeVar, overload

from ._bytes import gather
from ._codegen_decode import make_decoder
from ._codegen_encode import Pieces, make_encoder
from ._hash import node_hash
from ._limits import Limits
from ._resolve import resolve
from ._schema import Node

T = TypeVar("T")

# Types are few and live as long as the process; the bound only stops a leak of types made in loops.
_CACHED_TYPES = 4096
_DEFAULT = Limits()


@lru_cache(_CACHED_TYPES)
def _node(tp: object) -> Node:
    return resolve(tp)


class Encoder(Generic[T]):
    """Encodes values of one type. Immutable; may be shared between threads.

    `encode(value)`: the one encoding of a value. Raises EncodeError.
    """

    __slots__ = ("_pieces", "encode")

    encode: Callable[[T], bytes]

    @overload
    def __init__(self, tp: type[T], limits: Limits = ...) -> None: ...
    @overload
    def __init__(self: Encoder[Any], tp: object, limits: Limits = ...) -> None: ...
    def __init__(self, tp: object, limits: Limits = _DEFAULT) -> None:
        """Raises SchemaError if the type has no encoding."""
        self.encode, self._pieces = _encoder_functions(tp, limits)

    def encode_parts(self, value: T) -> list[bytes | memoryview]:
        """The same in parts; a body of 4 KiB or more is a part of its own, not copied. Raises EncodeError."""
        return gather(self._pieces(value))


class Decoder(Generic[T]):
    """Decodes values of one type. Immutable; may be shared between threads.

    `decode(data)`: the value of which `data`, all of it, is the encoding. Raises DecodeError.
    """

    __slots__ = ("decode",)

    decode: Callable[[bytes | bytearray | memoryview], T]

    @overload
    def __init__(self, tp: type[T], limits: Limits = ...) -> None: ...
    @overload
    def __init__(self: Decoder[Any], tp: object, limits: Limits = ...) -> None: ...
    def __init__(self, tp: object, limits: Limits = _DEFAULT) -> None:
        """Raises SchemaError if the type has no encoding."""
        self.decode = _decoder_function(tp, limits)


@lru_cache(_CACHED_TYPES)
def _encoder_functions(tp: object, limits: Limits) -> tuple[Callable[[Any], bytes], Callable[[Any], Pieces]]:
    return make_encoder(_node(tp), limits)


@lru_cache(_CACHED_TYPES)
def _decoder_function(tp: object, limits: Limits) -> Callable[[Any], Any]:
    return make_decoder(_node(tp), limits)


def encode(value: object, tp: object = None) -> bytes:
    """Encode a value as `tp`, or as its own class. Raises EncodeError, SchemaError."""
    return _encoder_functions(type(value) if tp is None else tp, _DEFAULT)[0](value)


@overload
def decode(data: bytes | bytearray | memoryview, tp: type[T], limits: Limits = ...) -> T: ...
@overload
def decode(data: bytes | bytearray | memoryview, tp: object, limits: Limits = ...) -> Any: ...
def decode(data: bytes | bytearray | memoryview, tp: object, limits: Limits = _DEFAULT) -> Any:
    """Decode a value of type `tp`. Raises DecodeError, SchemaError."""
    return _decoder_function(tp, limits)(data)


@lru_cache(_CACHED_TYPES)
def schema_hash(tp: object) -> int:
    """64 bits that are the same in every process, and change when anything on the wire does. Raises SchemaError."""
    return node_hash(_node(tp))
