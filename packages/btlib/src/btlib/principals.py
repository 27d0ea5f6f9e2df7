"""A principal: whoever holds the keys of one public key set, named by the hash of that set.

    digest = SHA-256(PRINCIPAL label ‖ encoding of the PublicKeys)         text = bech32m("bt", digest)

One principal has one text, in lower case. This module knows no keys; see `btlib.public_keys`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec
from btserde import Fixed

from ._bech32 import decode_bech32m, encode_bech32m
from .errors import PrincipalError

PREFIX = "bt"
DIGEST_SIZE = 32

Digest = Annotated[bytes, Fixed[32]]

# Texts are made and read for every message and log line, of few principals. The bound only stops growth.
_CACHED_TEXTS = 4096


class Principal(msgspec.Struct, frozen=True, order=True):
    """The fingerprint of a public key set. Hashable; encodes as its 32 bytes."""

    digest: Digest

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_SIZE:
            raise PrincipalError(f"a principal has {DIGEST_SIZE} bytes, not {len(self.digest)}")

    @classmethod
    def parse(cls, text: str) -> Principal:
        """Read `bt1…`. Raises PrincipalError with what is wrong and, for a typing error, what to do."""
        return _parse(text)

    def __str__(self) -> str:
        return _text(self.digest)

    def __repr__(self) -> str:
        return f"Principal({self})"

    @property
    def short(self) -> str:
        """The first characters, for messages where the whole name would drown the rest. Never compare or parse it."""
        return f"{str(self)[:11]}…"


@lru_cache(_CACHED_TEXTS)
def _text(digest: bytes) -> str:
    return encode_bech32m(PREFIX, digest)


@lru_cache(_CACHED_TEXTS)
def _parse(text: str) -> Principal:
    try:
        prefix, digest = decode_bech32m(text)
    except ValueError as error:
        raise PrincipalError(f"{_quote(text)} is no principal: {error}", hint="compare it with the original") from error
    if prefix != PREFIX:
        raise PrincipalError(f"{_quote(text)} is no principal: it does not begin with {PREFIX}1")
    if len(digest) != DIGEST_SIZE:
        raise PrincipalError(f"{_quote(text)} is no principal: it has {len(digest)} bytes instead of {DIGEST_SIZE}")
    if text != text.lower():
        raise PrincipalError(f"{_quote(text)} is no principal: it is in upper case", hint=f"write {text.lower()}")
    return Principal(digest)


def _quote(text: str) -> str:
    """The text as an error shows it: bounded, and no control characters."""
    return ascii(text if len(text) <= 100 else f"{text[:100]}…")
