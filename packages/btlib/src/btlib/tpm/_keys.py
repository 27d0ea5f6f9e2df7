"""`TpmKeys`: signs and opens as one principal, with keys in a chip. Every use is a conversation with it (`_chip`)."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .._p256 import canonical_signature
from ..labels import Label
from ..public_keys import PublicKeys
from ._chip import Access, conversation
from ._format import TpmRecord
from ._hpke import open_shared, split_sealed


class TpmKeys:
    """A `Signer` and `Opener`. Thread-safe: one use at a time, tens a second on real chips.

    Holds the authorization value in memory, and no key. It does not show, and is not copied or pickled.
    """

    __slots__ = ("_access", "_name", "_record", "_tcti", "public")

    def __init__(self, record: TpmRecord, tcti: str, name: str, access: Access) -> None:
        self.public: PublicKeys = record.public
        self._record = record
        self._tcti = tcti
        self._name = name
        self._access = access

    def sign(self, label: Label, message: bytes) -> bytes:
        """See `Signer.sign`. Raises TpmError where the chip refuses."""
        digest = hashlib.sha256(label.value + message).digest()
        with conversation(self._tcti, self._name, chip=self._record.chip, own=self._record.blobs) as talk:
            r, s = talk.sign(self._record.signing, self._access, digest)
        return canonical_signature(encode_dss_signature(r, s))

    def open(self, label: Label, info: bytes, sealed: bytes) -> bytes:
        """See `Opener.open`. Raises TpmError where the chip refuses."""
        enc, _ = split_sealed(sealed)
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
        with conversation(self._tcti, self._name, chip=self._record.chip, own=self._record.blobs) as talk:
            dh = talk.exchange(self._record.sealing, self._access, point)
        return open_shared(dh, sealed, self.public.sealing, label.value + info)

    def __repr__(self) -> str:
        return f"TpmKeys({self.public!r}, {self._tcti!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("TpmKeys are not copied or pickled")
