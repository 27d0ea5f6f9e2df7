"""The public areas of what lies in the chip: the storage key above everything, and the three kinds of objects below it.

All carry a policy that nobody can satisfy, or that binds to registers; so none can ever be duplicated, and what a dead
process left behind is told from other programs' keys. Pure.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tpm2_pytss import TPM2B_PRIVATE, TPM2B_PUBLIC, TPMA_OBJECT, TSS2_Exception

from ..labels import Label, tagged_hash
from ._format import Blob

#: The digest of no policy: it marks our objects, and forbids their duplication, which only a policy could allow.
MARK = tagged_hash(Label.TPM_STORAGE)

_FIXED = TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.FIXEDPARENT
_MADE = TPMA_OBJECT.SENSITIVEDATAORIGIN
_COORDINATE = 32


def storage_template() -> TPM2B_PUBLIC:
    """The storage key: made anew from the chip's seed whenever it is needed, always the same. Never change it."""
    attributes = _FIXED | _MADE | TPMA_OBJECT.USERWITHAUTH | TPMA_OBJECT.NODA
    attributes |= TPMA_OBJECT.RESTRICTED | TPMA_OBJECT.DECRYPT
    return TPM2B_PUBLIC.parse("ecc256:aes128cfb", objectAttributes=attributes, authPolicy=MARK)


def signing_template(policy: bytes | None, *, made: bool) -> TPM2B_PUBLIC:
    """A key that signs with ECDSA. `made`: by the chip itself, and bound to it."""
    attributes = _attributes(policy, made=made) | TPMA_OBJECT.SIGN_ENCRYPT
    return TPM2B_PUBLIC.parse("ecc256:ecdsa-sha256", objectAttributes=attributes, authPolicy=policy or MARK)


def sealing_template(policy: bytes | None, *, made: bool) -> TPM2B_PUBLIC:
    """A key for Diffie-Hellman."""
    attributes = _attributes(policy, made=made) | TPMA_OBJECT.DECRYPT
    return TPM2B_PUBLIC.parse("ecc256:ecdh-sha256", objectAttributes=attributes, authPolicy=policy or MARK)


def data_template(policy: bytes | None) -> TPM2B_PUBLIC:
    """A few bytes that come out again for the passphrase."""
    attributes = _FIXED | _use(policy)
    return TPM2B_PUBLIC.parse("keyedhash", objectAttributes=attributes, authPolicy=policy or MARK)


def point_of(public: TPM2B_PUBLIC) -> bytes:
    """The public key, compressed. Raises ValueError where it is none."""
    area = public.publicArea
    union = area.unique
    point = union.ecc
    x, y = int.from_bytes(bytes(point.x)), int.from_bytes(bytes(point.y))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def put_point(public: TPM2B_PUBLIC, key: ec.EllipticCurvePublicKey) -> None:
    """Complete a template with a public key."""
    numbers = key.public_numbers()
    area = public.publicArea
    union = area.unique
    point = union.ecc
    point.x, point.y = numbers.x.to_bytes(_COORDINATE), numbers.y.to_bytes(_COORDINATE)


def is_whole(blob: Blob) -> bool:
    """Whether both parts of a blob can be read to their ends; whether they are genuine only the chip knows."""
    try:
        _, public = TPM2B_PUBLIC.unmarshal(blob.public)
        _, private = TPM2B_PRIVATE.unmarshal(blob.private)
    except TSS2_Exception:
        return False
    return (public, private) == (len(blob.public), len(blob.private))


def is_marked(public: TPM2B_PUBLIC) -> bool:
    """Whether an object in the chip is one of ours."""
    area = public.publicArea
    return bytes(area.authPolicy) == MARK


def _attributes(policy: bytes | None, *, made: bool) -> TPMA_OBJECT:
    return (_FIXED | _MADE if made else TPMA_OBJECT(0)) | _use(policy)


def _use(policy: bytes | None) -> TPMA_OBJECT:
    # With a policy, the passphrase alone must not do. NODA stays clear: the chip counts wrong passphrases.
    return TPMA_OBJECT(0) if policy else TPMA_OBJECT.USERWITHAUTH
