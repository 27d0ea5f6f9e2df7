"""Typed values to and from a compact, canonical binary form.

A value has exactly one encoding under its type, since encodings are signed; a decoder refuses every other form. The
encoding does not describe itself: both ends know the type, and compare `schema_hash` to be sure.
"""

from ._api import Decoder, Encoder, decode, encode, schema_hash
from ._limits import Limits
from ._types import I8, I16, I32, I64, U8, U16, U32, U64, Fixed, View
from .errors import DecodeError, EncodeError, SchemaError, SerdeError

__all__ = [
    "I8",
    "I16",
    "I32",
    "I64",
    "U8",
    "U16",
    "U32",
    "U64",
    "DecodeError",
    "Decoder",
    "EncodeError",
    "Encoder",
    "Fixed",
    "Limits",
    "SchemaError",
    "SerdeError",
    "View",
    "decode",
    "encode",
    "schema_hash",
]
