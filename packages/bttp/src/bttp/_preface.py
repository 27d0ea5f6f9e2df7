"""The preface: the client's first bytes, in the clear, and a server's answer to one that it cannot take. Pure.

    preface = "BTTP" ‖ version u8 ‖ 0 u8 ‖ length u16 ‖ client's certificate (DER)
    refusal = "BTNO" ‖ kind u8 ‖ length u8 ‖ text

The certificate is ephemeral and says nothing about who the client is; the server needs it as its trust anchor before
the TLS handshake begins. A refusal comes instead of a TLS record, from nobody in particular: it is a hint, no proof.
"""

from __future__ import annotations

from struct import Struct

from btlib.kinds import Kind

from ._frames import Buffer, printable
from .errors import RemoteProtocolError, UnreachableError

MAGIC = b"BTTP"
REFUSAL = b"BTNO"
VERSION = 1
MAX_CERTIFICATE = 1024  #: a self-signed P-256 certificate has about 350 bytes
_HEAD = Struct("<4sBBH")


def preface(certificate: bytes) -> bytes:
    """What a client sends first."""
    return _HEAD.pack(MAGIC, VERSION, 0, len(certificate)) + certificate


def read_preface(data: bytes | bytearray) -> tuple[bytes, int] | None:
    """The certificate and how many bytes were read; None if more is needed.

    Raises RemoteProtocolError at the first byte that cannot be right: garbage is not waited for.
    """
    if not MAGIC.startswith(data[:4]):
        raise RemoteProtocolError("the peer does not speak bttp")
    if len(data) > 4 and data[4] != VERSION:
        raise RemoteProtocolError(f"the peer speaks version {data[4]} of bttp, not {VERSION}")
    if len(data) < _HEAD.size:
        return None
    zero, length = _HEAD.unpack_from(data)[2:]
    if zero != 0:
        raise RemoteProtocolError("the preface is malformed")
    if not 1 <= length <= MAX_CERTIFICATE:
        raise RemoteProtocolError(f"a certificate of {length} bytes is not within 1 to {MAX_CERTIFICATE}")
    end = _HEAD.size + length
    return (bytes(data[_HEAD.size : end]), end) if len(data) >= end else None


def refusal(kind: Kind, text: str) -> bytes:
    """A server's answer instead of a TLS handshake."""
    encoded = text.encode()[:255].decode(errors="ignore").encode()
    return REFUSAL + bytes((kind, len(encoded))) + encoded


def read_refusal(data: bytes | bytearray) -> tuple[Kind, str] | None:
    """Kind and text, if these bytes are a whole refusal."""
    if not data.startswith(REFUSAL) or len(data) < 6 or len(data) < 6 + data[5]:
        return None
    kind = Kind(data[4]) if data[4] in Kind._value2member_map_ else Kind.INTERNAL
    return kind, printable(bytes(data[6 : 6 + data[5]]).decode(errors="replace"))


class Clear:
    """What one end of a link hears in the clear: a server the preface, a client perhaps a refusal."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._answered = False  # the server's first bytes were TLS

    def read_preface(self, data: Buffer) -> tuple[bytes, bytes] | None:
        """The client's certificate, and what came behind the preface; None if more is needed. Raises as above."""
        self._data += data
        read = read_preface(self._data)
        if read is None:
            return None
        certificate, used = read
        rest = bytes(self._data[used:])
        self._data.clear()
        return certificate, rest

    def is_refusal(self, data: Buffer) -> bool:
        """Whether the server answers in the clear (no TLS record begins so). Raises what it says, once it is whole."""
        if self._answered or not (self._data or bytes(data[:1]) == REFUSAL[:1]):
            self._answered = True
            return False
        self._data += data
        if (said := read_refusal(self._data)) is not None:
            raise UnreachableError(f"the server turned the connection away: {said[1]}", kind=said[0])
        return True
