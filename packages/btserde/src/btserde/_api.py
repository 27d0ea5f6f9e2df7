"""Encoders and decoders as the user sees them, made once for each type."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Generic, TypeVar, overload

from ._bytes import flat
from ._hash import node_hash
from ._limits import Limits
from ._resolve import resolve
from ._schema import Node
from ._walk_decode import walk_decode
from ._walk_encode import walk_encode
from .errors import DecodeError

T = TypeVar("T")

# Types are few and live as long as the process; the bound only stops a leak of types made in loops.
_CACHED_TYPES = 4096
_DEFAULT = Limits()


@lru_cache(_CACHED_TYPES)
def _node(tp: object) -> Node:
    return resolve(tp)


class Encoder(Generic[T]):
    """Encodes values of one type. Immutable; may be shared between threads."""

    @overload
    def __init__(self, tp: type[T], limits: Limits = ...) -> None: ...
    @overload
    def __init__(self: Encoder[Any], tp: object, limits: Limits = ...) -> None: ...
    def __init__(self, tp: object, limits: Limits = _DEFAULT) -> None:
        """Raises SchemaError if the type has no encoding."""
        self._node = _node(tp)
        self._limits = limits

    def encode(self, value: T) -> bytes:
        """The one encoding of a value. Raises EncodeError."""
        return walk_encode(self._node, value, self._limits)

    def encode_parts(self, value: T) -> list[bytes | memoryview]:
        """The same in parts; a body of 4 KiB or more is a part of its own, not copied. Raises EncodeError."""
        return [self.encode(value)]


class Decoder(Generic[T]):
    """Decodes values of one type. Immutable; may be shared between threads."""

    @overload
    def __init__(self, tp: type[T], limits: Limits = ...) -> None: ...
    @overload
    def __init__(self: Decoder[Any], tp: object, limits: Limits = ...) -> None: ...
    def __init__(self, tp: object, limits: Limits = _DEFAULT) -> None:
        """Raises SchemaError if the type has no encoding."""
        self._node = _node(tp)
        self._limits = limits

    def decode(self, data: bytes | bytearray | memoryview) -> T:
        """The value of which `data`, all of it, is the encoding. Raises DecodeError."""
        try:
            plain = flat(data)
        except TypeError as error:
            raise DecodeError(f"expected contiguous bytes, got {type(data).__name__}") from error
        value: T = walk_decode(self._node, plain, self._limits)
        return value


@lru_cache(_CACHED_TYPES)
def _encoder(tp: object) -> Encoder[Any]:
    return Encoder(tp)


@lru_cache(_CACHED_TYPES)
def _decoder(tp: object, limits: Limits) -> Decoder[Any]:
    return Decoder(tp, limits)


def encode(value: object, tp: object = None) -> bytes:
    """Encode a value as `tp`, or as its own class. Raises EncodeError, SchemaError."""
    return _encoder(type(value) if tp is None else tp).encode(value)


@overload
def decode(data: bytes | bytearray | memoryview, tp: type[T], limits: Limits = ...) -> T: ...
@overload
def decode(data: bytes | bytearray | memoryview, tp: object, limits: Limits = ...) -> Any: ...
def decode(data: bytes | bytearray | memoryview, tp: object, limits: Limits = _DEFAULT) -> Any:
    """Decode a value of type `tp`. Raises DecodeError, SchemaError."""
    return _decoder(tp, limits).decode(data)


@lru_cache(_CACHED_TYPES)
def schema_hash(tp: object) -> int:
    """64 bits that are the same in every process, and change when anything on the wire does. Raises SchemaError."""
    return node_hash(_node(tp))
