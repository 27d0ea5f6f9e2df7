"""Signing many headers at once, and verifying one of them.

    digest(i)   = SHA-256(HEADER label ‖ encoded header i)
    pair(l, r)  = SHA-256(COMMIT_NODE label ‖ l ‖ r)
    root        = the digests, paired level by level; the last of an odd number moves up as it is
    signature   = sign(COMMIT label, u32 count ‖ root)

One signature covers a commit, so signing does not cap how many small files a second can be made. Each header carries
the siblings on its way to the root (32 bytes for each doubling of the count). Whoever verified the root once
(`VerifiedRoots`) pays only those hashes for the other headers of the commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..errors import BlockError, IntegrityError
from ..labels import Label
from ..public_keys import PublicKeys
from ..signing import Signer
from ._header import Header, Proof, SignedHeader, decode_header, encode_header
from ._ids import DIGEST_SIZE

MAX_COMMIT_HEADERS = 2**16  #: headers under one signature: proofs of at most 512 bytes
VERIFIED_ROOTS = 4096  #: commit roots remembered, about 1 MB: one signature is checked again after so many others

_HEADER = Label.HEADER.value
_PAIR = Label.COMMIT_NODE.value
_sha256 = hashlib.sha256

RootKey = tuple[bytes, bytes, bytes]


class VerifiedRoots:
    """Remembers which commit roots were verified under which key.

    Bounded: of two generations the older is dropped. May be shared between threads without a lock.
    """

    def __init__(self, limit: int = VERIFIED_ROOTS) -> None:
        self._half = max(1, limit // 2)
        self._new: set[RootKey] = set()
        self._old: set[RootKey] = set()

    def __contains__(self, key: RootKey) -> bool:
        return key in self._new or key in self._old

    def __len__(self) -> int:
        return len(self._new | self._old)

    def add(self, key: RootKey) -> None:
        """Note a root whose signature was verified."""
        if len(self._new) >= self._half:
            self._old, self._new = self._new, set()
        self._new.add(key)


def sign_commit(signer: Signer, headers: Sequence[Header]) -> list[SignedHeader]:
    """Sign some headers with one signature, in order. Raises BlockError for none or too many."""
    if not 0 < len(headers) <= MAX_COMMIT_HEADERS:
        raise BlockError(f"a commit signs 1 to {MAX_COMMIT_HEADERS} headers, not {len(headers)}")
    encoded = [encode_header(header) for header in headers]
    levels = _levels([header_digest(header) for header in encoded])
    count = len(headers)
    signature = signer.sign(Label.COMMIT, commit_message(count, levels[-1][0]))
    proofs = _proofs(levels)
    return [SignedHeader(header, Proof(i, count, proofs[i]), signature) for i, header in enumerate(encoded)]


def verify_signed_header(signed: SignedHeader, public: PublicKeys, verified: VerifiedRoots) -> Header:
    """The header, once it is certain that `public` signed it. Raises IntegrityError, SignatureError.

    Whether that writer was allowed to is `verify_chain`'s question.
    """
    proof = signed.proof
    message = commit_message(proof.count, _fold(header_digest(signed.header), proof))
    key = (message, _sha256(signed.signature).digest(), public.signing)  # some suites sign with kilobytes
    if key not in verified:
        public.verify(Label.COMMIT, message, signed.signature)
        verified.add(key)
    return decode_header(signed.header)


def header_digest(header: bytes | memoryview) -> bytes:
    """The digest of an encoded header, as it stands in the tree of its commit."""
    digest = _sha256(_HEADER)
    digest.update(header)
    return digest.digest()


def commit_message(count: int, root: bytes) -> bytes:
    """What is signed. The count makes the shape of the tree, and so every proof, unambiguous."""
    return count.to_bytes(4, "little") + root


def _levels(digests: list[bytes]) -> list[list[bytes]]:
    levels = [digests]
    while len(digests) > 1:
        pairs = [
            _sha256(_PAIR + left + right).digest() for left, right in zip(digests[::2], digests[1::2], strict=False)
        ]
        digests = pairs + digests[len(pairs) * 2 :]
        levels.append(digests)
    return levels


def _proofs(levels: list[list[bytes]]) -> list[bytes]:
    """The siblings of each header on its way up: from the root down, each is its sibling and what its parent has."""
    proofs = [b""]
    for level in reversed(levels[:-1]):
        last = len(level) - 1
        proofs = [(level[i ^ 1] if i ^ 1 <= last else b"") + proofs[i >> 1] for i in range(last + 1)]
    return proofs


def _fold(digest: bytes, proof: Proof) -> bytes:
    """The root of the commit that a header claims to stand in. Raises IntegrityError."""
    index, count, siblings = proof.index, proof.count, proof.siblings
    if not index < count <= MAX_COMMIT_HEADERS:
        raise IntegrityError(f"a header cannot be number {index} of {count} in its commit")
    at = 0
    while count > 1:
        if index ^ 1 < count:
            sibling = siblings[at : at + DIGEST_SIZE]
            at += DIGEST_SIZE
            digest = _sha256(_PAIR + sibling + digest if index & 1 else _PAIR + digest + sibling).digest()
        index >>= 1
        count = count + 1 >> 1
    if at != len(siblings):
        raise IntegrityError(f"the proof of a header has {len(siblings)} bytes of siblings instead of {at}")
    return digest
