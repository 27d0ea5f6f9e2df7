"""Writecaps: signed, expiring permissions at a path, and the chains that lead from a domain's root to their holder.

    Writecap = terms ‖ signature         terms = issuer, subject, path, scope, rights, not_before, not_after,
                                                 may_delegate, serial
    id[0] = SHA-256(CHAIN label)         id[n] = SHA-256(CHAIN label ‖ id[n-1] ‖ terms[n] ‖ signature[n])
    signature[n] over                    WRITECAP label ‖ id[n-1] ‖ terms[n]

A signature covers all that came before it, so a writecap cannot be moved to another chain. A chain only narrows: in
path, rights and time. This module says what they are and issues them; `btlib.verification` decides what they allow.
It does not keep, send or revoke them.
"""

from __future__ import annotations

import enum
from functools import cached_property
from typing import Annotated

import msgspec
from btserde import I64, U8, DecodeError, Encoder, Fixed, Limits, decode

from ._dates import date_text
from .errors import CapabilityError
from .labels import Label, tagged_hash
from .paths import MAX_PATH_BYTES, BlockPath
from .principals import Principal
from .public_keys import PublicKeys
from .signing import Signer

MAX_CAPS = 8  #: root, owner, host, process need three; the bound is on the work of a verifier

ScopeId = Annotated[bytes, Fixed[16]]
Serial = Annotated[bytes, Fixed[16]]

# Each cap holds one path, keys and a signature of at most 6580 bytes (the hybrid suite's), and less than 512 besides.
_LIMITS = Limits(max_size=MAX_CAPS * (MAX_PATH_BYTES + 8192), max_count=MAX_CAPS)


class Rights(enum.IntFlag):
    """What a writecap allows at and below its path."""

    WRITE = 1  #: change blocks there
    EXECUTE = 2  #: send messages to what listens there

    @property
    def text(self) -> str:
        """As in `write and execute`."""
        return " and ".join(right.name.lower() for right in Rights if right in self and right.name) or "nothing"


#: What it takes to be the one that listens at a path: both, in one chain. Who may only send there, or only write there,
#: is not who answers there.
SERVE = Rights.WRITE | Rights.EXECUTE
_ALL_RIGHTS = int(Rights.WRITE | Rights.EXECUTE)


class Writecap(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One signed permission. One that exists is well-formed; whether it is genuine is for a chain's verification."""

    issuer: PublicKeys
    subject: Principal
    path: str  #: canonical text of a block path
    scope: ScopeId  #: the write scope that a server checks, since it cannot see paths
    rights: U8
    not_before: I64  #: unix seconds, inclusive
    not_after: I64  #: unix seconds, inclusive
    may_delegate: bool
    serial: Serial  #: random; names this cap in a revocation list
    signature: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.rights <= _ALL_RIGHTS:
            raise CapabilityError(f"a writecap has no rights {self.rights}")
        if self.not_before > self.not_after:
            raise CapabilityError("a writecap cannot end before it begins")
        _ = self.block_path

    @cached_property
    def block_path(self) -> BlockPath:
        """The path, parsed. PathError cannot occur in a writecap that exists."""
        return BlockPath.parse(self.path)

    @cached_property
    def terms(self) -> bytes:
        """The encoding of everything but the signature."""
        return _TERMS.encode(
            (
                self.issuer,
                self.subject,
                self.path,
                self.scope,
                self.rights,
                self.not_before,
                self.not_after,
                self.may_delegate,
                self.serial,
            )
        )

    def __str__(self) -> str:
        delegation = "may delegate" if self.may_delegate else "may not delegate"
        return (
            f"{self.issuer.principal} lets {self.subject} {Rights(self.rights).text} at {self.path} "
            f"from {date_text(self.not_before)} to {date_text(self.not_after)}; {delegation}"
        )


_TERMS: Encoder[tuple[object, ...]] = Encoder(
    tuple[PublicKeys, Principal, str, ScopeId, U8, I64, I64, bool, Serial],
)

_EMPTY_ID = tagged_hash(Label.CHAIN)


class Chain(msgspec.Struct, frozen=True, dict=True):
    """Writecaps from the root's to the holder's. The empty chain is the root's own."""

    caps: tuple[Writecap, ...] = ()

    def __post_init__(self) -> None:
        if len(self.caps) > MAX_CAPS:
            raise CapabilityError(f"a chain has at most {MAX_CAPS} writecaps, not {len(self.caps)}")

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Chain:
        """From its encoding. Raises CapabilityError."""
        try:
            return decode(data, cls, _LIMITS)
        except DecodeError as error:
            raise CapabilityError(f"not a chain of writecaps: {error}") from error

    @cached_property
    def ids(self) -> tuple[bytes, ...]:
        """The id of every beginning of this chain, from the empty one to the whole."""
        ids = [_EMPTY_ID]
        for cap in self.caps:
            ids.append(tagged_hash(Label.CHAIN, ids[-1], cap.terms, cap.signature))
        return tuple(ids)

    @property
    def id(self) -> bytes:
        """32 bytes that name this chain and no other."""
        return self.ids[-1]

    @property
    def last(self) -> Writecap | None:
        """The cap of the holder; None in the root's empty chain."""
        return self.caps[-1] if self.caps else None


def link_fault(previous: Writecap | None, cap: Writecap, root: Principal, number: int) -> str | None:
    """Why `cap`, as the chain's `number`th, may not follow `previous` (None: nothing), in a sentence."""
    holder = root if previous is None else previous.subject
    if cap.issuer.principal != holder:
        return f"writecap {number} is issued by {cap.issuer.principal}, but at this place only {holder} could issue one"
    if cap.block_path.root != root:
        return f"writecap {number} is for {cap.path}, which is not in the domain of {root}"
    if previous is None:
        return None
    if not previous.may_delegate:
        return f"writecap {number - 1} does not let {holder} delegate, so writecap {number} counts for nothing"
    return _widening(previous, cap, number)


def _widening(previous: Writecap, cap: Writecap, number: int) -> str | None:
    if not previous.block_path.is_prefix_of(cap.block_path):
        return f"writecap {number} is for {cap.path}, which is not below {previous.path} of writecap {number - 1}"
    extra = cap.rights & ~previous.rights
    if extra:
        return f"writecap {number} gives the right to {Rights(extra).text}, which writecap {number - 1} does not hold"
    if cap.not_before < previous.not_before:
        return (
            f"writecap {number} begins on {date_text(cap.not_before)}, "
            f"before writecap {number - 1} ({date_text(previous.not_before)})"
        )
    if cap.not_after > previous.not_after:
        return (
            f"writecap {number} ends on {date_text(cap.not_after)}, "
            f"after writecap {number - 1} ({date_text(previous.not_after)})"
        )
    return None


def issue_writecap(
    signer: Signer,
    parent: Chain,
    *,
    subject: Principal,
    path: BlockPath,
    scope: bytes,
    rights: Rights,
    not_before: int,
    not_after: int,
    may_delegate: bool,
    serial: bytes,
) -> Chain:
    """The chain that gives `subject` these rights, as an extension of the signer's own chain `parent`.

    The root passes the empty chain. `serial` is 16 fresh random bytes. Raises CapabilityError for whatever the signer
    cannot give: a wider path, other rights, a longer time, or anything if its own writecap may not be delegated.
    Whether `parent` itself is genuine is not checked here.
    """
    unsigned = Writecap(
        issuer=signer.public,
        subject=subject,
        path=str(path),
        scope=scope,
        rights=int(rights),
        not_before=not_before,
        not_after=not_after,
        may_delegate=may_delegate,
        serial=serial,
        signature=b"",
    )
    root = parent.caps[0].issuer.principal if parent.caps else signer.public.principal
    fault = link_fault(parent.last, unsigned, root, len(parent.caps) + 1)
    if fault is not None:
        raise CapabilityError(f"this writecap cannot be issued: {fault}")
    signature = signer.sign(Label.WRITECAP, parent.id + unsigned.terms)
    return Chain((*parent.caps, msgspec.structs.replace(unsigned, signature=signature)))
