"""Readcaps: the key of a block, sealed to one principal. Holding one that opens is being able to read.

    Readcap   = subject, block, key_epoch U32, sealed
    info      = READCAP label ‖ subject ‖ block ‖ key_epoch
    plaintext = key (32 bytes) ‖ path text ‖ zero padding to a multiple of 256 bytes

The path is sealed too, and its length hidden by the padding: a server that keeps readcaps learns no names. A seal says
nothing about who made it; that a key is the right one shows when the block's sectors open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from btserde import U32, DecodeError, Fixed, Limits, decode, encode

from .errors import CapabilityError, PathError, SealError
from .labels import Label
from .paths import MAX_PATH_BYTES, BlockPath
from .principals import Principal
from .public_keys import PublicKeys
from .signing import Opener

KEY_SIZE = 32
BLOCK_SIZE = 16
PADDING = 256  #: most paths fill one unit; a longer one shows how many it fills

_BlockId = Annotated[bytes, Fixed[16]]
# A seal of the hybrid suite is 1136 bytes longer than its plaintext.
_LIMITS = Limits(max_size=MAX_PATH_BYTES + 2048)


class Readcap(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed block key. Public: anyone may see it, only `subject` can open it."""

    subject: Principal
    block: _BlockId
    key_epoch: U32
    sealed: bytes

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Readcap:
        """From its encoding. Raises CapabilityError."""
        try:
            return decode(data, cls, _LIMITS)
        except DecodeError as error:
            raise CapabilityError(f"not a readcap: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadKey:
    """An opened readcap. The key does not show in its representation."""

    block: bytes
    key_epoch: int
    key: bytes = field(repr=False)
    path: BlockPath


class _Info(msgspec.Struct, frozen=True):
    subject: Principal
    block: _BlockId
    key_epoch: U32


def seal_readcap(subject: PublicKeys, *, block: bytes, key_epoch: int, key: bytes, path: BlockPath | str) -> Readcap:
    """Give `subject` the key of a block. `path` is where it lies: it tells the holder what the key is for.

    Raises PathError if `path` is not canonical, CapabilityError for a key or a block id of the wrong size.
    """
    text = str(BlockPath.parse(path) if isinstance(path, str) else path)
    if len(key) != KEY_SIZE or len(block) != BLOCK_SIZE:
        raise CapabilityError(f"a readcap has a key of {KEY_SIZE} and a block id of {BLOCK_SIZE} bytes")
    plain = key + encode(text)
    info = encode(_Info(subject.principal, block, key_epoch))
    sealed = subject.seal(Label.READCAP, info, plain + bytes(-len(plain) % PADDING))
    return Readcap(subject=subject.principal, block=block, key_epoch=key_epoch, sealed=sealed)


def open_readcap(opener: Opener, readcap: Readcap) -> ReadKey:
    """The key inside. Raises CapabilityError for another principal's, SealError for one that does not open."""
    own = opener.public.principal
    if readcap.subject != own:
        raise CapabilityError(f"this readcap is for {readcap.subject}, not for {own}")
    info = encode(_Info(own, readcap.block, readcap.key_epoch))
    plain = opener.open(Label.READCAP, info, readcap.sealed)
    path = _read_path(plain)
    return ReadKey(block=readcap.block, key_epoch=readcap.key_epoch, key=plain[:KEY_SIZE], path=path)


def _read_path(plain: bytes) -> BlockPath:
    """The path of a plaintext of which every byte is checked. Raises SealError."""
    text = plain[KEY_SIZE:].rstrip(b"\0")
    if len(plain) % PADDING or len(plain) - KEY_SIZE - len(text) >= PADDING:
        raise SealError("the readcap opens, but is not padded as it should be")
    try:
        return BlockPath.parse(decode(text, str))
    except (DecodeError, PathError):
        # The cause would quote the plaintext.
        raise SealError("the readcap opens, but holds no path") from None
