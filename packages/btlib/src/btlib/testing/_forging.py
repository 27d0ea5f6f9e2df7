"""Chains that `issue_writecap` would not make: signed by whoever signs them, with whatever terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import msgspec

from ..key_pairs import KeyPair
from ..labels import Label
from ..paths import BlockPath
from ..writecaps import Chain, Rights, Writecap
from ._identities import ROOT_SCOPE, make_keys, serial_of

NOON = 1_000_000
BOTH = Rights.WRITE | Rights.EXECUTE


@dataclass(frozen=True)
class Terms:
    """What one forged cap says."""

    names: tuple[str, ...] = ()
    root: str = "root"
    rights: int = int(BOTH)
    begins: int = 0
    ends: int = 2 * NOON
    may_delegate: bool = True
    scope: bytes = ROOT_SCOPE

    def but(self, **changes: Any) -> Terms:
        return replace(self, **changes)


def forge(holders: list[KeyPair], terms: list[Terms]) -> Chain:
    """A chain in which each holder truly signs for the next, whatever the terms."""
    chain = Chain()
    for number, ((signer, subject), term) in enumerate(zip(pairwise(holders), terms, strict=True), 1):
        chain = append(chain, signer, subject, term, number)
    return chain


def append(chain: Chain, signer: KeyPair, subject: KeyPair, terms: Terms, number: int) -> Chain:
    """The chain with one more cap."""
    unsigned = Writecap(
        issuer=signer.public,
        subject=subject.public.principal,
        path=str(BlockPath(make_keys(terms.root).public.principal, terms.names)),
        scope=terms.scope,
        rights=terms.rights,
        not_before=terms.begins,
        not_after=terms.ends,
        may_delegate=terms.may_delegate,
        serial=serial_of(f"cap {number}"),
        signature=b"",
    )
    return Chain((*chain.caps, signed(chain, unsigned, signer)))


def signed(parent: Chain, cap: Writecap, signer: KeyPair) -> Writecap:
    """The cap, truly signed as the next of `parent`."""
    signature = signer.sign(Label.WRITECAP, parent.id + cap.terms)
    return msgspec.structs.replace(cap, signature=signature)
