"""What both ends know after SPAKE2, and how they prove it and seal with it.

    transcript  = body of HELLO ‖ body of ANSWER
    keys        = HKDF-SHA256(agreed, salt = SHA-256(transcript), info = PAIRING_KEYS, 128 bytes)
                = proof key of the joiner ‖ of the inviter ‖ seal key of the joiner ‖ of the inviter
    proof       = HMAC-SHA256(proof key, PAIRING_PROOF ‖ transcript)
    sealed      = AES-256-GCM(seal key, nonce = U96 BE number of the message of this end, from 0,
                              associated data = PAIRING_MESSAGE ‖ kind)

The proof is checked before anything is opened: AES-GCM alone can be made to open under several keys, which would be
several guesses. SPAKE2 is that of the library `spake2`: no arithmetic of our own.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import PairingError
from ..labels import Label
from ._frames import PAKE, FrameKind

INVITER_ID = b"blocktree inviter"
JOINER_ID = b"blocktree joiner"
INVITER_SIDE, JOINER_SIDE = b"A", b"B"
KEY = 32
_FIELD = 2**255 - 19
_SIGN = 1 << 255

Random = Callable[[int], bytes]


class Exchange(Protocol):
    """One end of SPAKE2; good for one exchange."""

    def start(self) -> bytes: ...

    def finish(self, message: bytes, /) -> bytes: ...


def inviter_exchange(secret: bytes, random: Random) -> Exchange:
    from spake2 import SPAKE2_A  # a tenth of a second of tables, which other commands shall not wait for

    made: Exchange = SPAKE2_A(secret, idA=INVITER_ID, idB=JOINER_ID, entropy_f=random)
    return made


def joiner_exchange(secret: bytes, random: Random) -> Exchange:
    from spake2 import SPAKE2_B

    made: Exchange = SPAKE2_B(secret, idA=INVITER_ID, idB=JOINER_ID, entropy_f=random)
    return made


def agree(exchange: Exchange, message: bytes, side: bytes) -> bytes:
    """Finish with the other end's message, which has to come from that side. Raises PairingError."""
    from spake2 import SPAKEError
    from spake2.ed25519_basic import NotOnCurve

    if len(message) != PAKE or message[:1] != side:
        raise PairingError("this is no SPAKE2 message of the other end")
    if int.from_bytes(message[1:], "little") & ~_SIGN >= _FIELD:  # the library would take a second form of some points
        raise PairingError("a SPAKE2 message is not canonical")
    try:
        return exchange.finish(message)
    except (SPAKEError, NotOnCurve, ValueError) as error:
        raise PairingError(f"a SPAKE2 message is no point of the group: {error}") from error


class Sealing:
    """Seals what this end sends and opens what the other sends, each in its order."""

    def __init__(self, agreed: bytes, transcript: bytes, *, inviter: bool) -> None:
        salt = hashlib.sha256(transcript).digest()
        material = HKDF(algorithm=SHA256(), length=4 * KEY, salt=salt, info=Label.PAIRING_KEYS.value).derive(agreed)
        proof_joiner, proof_inviter, seal_joiner, seal_inviter = (
            material[start : start + KEY] for start in range(0, 4 * KEY, KEY)
        )
        own, other = (proof_inviter, proof_joiner) if inviter else (proof_joiner, proof_inviter)
        out, into = (seal_inviter, seal_joiner) if inviter else (seal_joiner, seal_inviter)
        self.proof = _proof(own, transcript)  #: that this end knew the code
        self._expected = _proof(other, transcript)
        self._out, self._in = AESGCM(out), AESGCM(into)
        self._sent = self._opened = 0

    def proves(self, proof: bytes) -> bool:
        """Whether the other end knew the code."""
        return hmac.compare_digest(proof, self._expected)

    def seal(self, kind: FrameKind, plain: bytes) -> bytes:
        nonce, self._sent = self._sent.to_bytes(12), self._sent + 1
        return self._out.encrypt(nonce, plain, _associated(kind))

    def open(self, kind: FrameKind, sealed: bytes) -> bytes:
        """Raises PairingError where it is not the other end's next message."""
        nonce, self._opened = self._opened.to_bytes(12), self._opened + 1
        try:
            return self._in.decrypt(nonce, sealed, _associated(kind))
        except InvalidTag:
            raise PairingError(f"a {kind.name} was changed on the way") from None


def _proof(key: bytes, transcript: bytes) -> bytes:
    return hmac.digest(key, Label.PAIRING_PROOF.value + transcript, "sha256")


def _associated(kind: FrameKind) -> bytes:
    return Label.PAIRING_MESSAGE.value + bytes([kind])
