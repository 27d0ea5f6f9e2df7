"""The file in which a machine asks that its new keys get what its old ones have.

    request   = the new keys' own request to join, root, old keys, chains, readcaps
    signature = by the old keys

So both key sets prove themselves: the new ones in the request inside, the old ones over all. Nobody has to compare
fingerprints, because the old keys are known. The readcaps are the old ones' content, sealed for the new keys; nothing
in the file is secret. The answer is an enrolment response. Pure: time and keys are arguments.
"""

from __future__ import annotations

import msgspec
from btfproto.domain import Handover
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.readcaps import Readcap
from btlib.signing import Signer
from btlib.writecaps import Chain
from btserde import encode

from .enrolment import Request, armour, read_request, unarmour
from .errors import CommandError

TITLE = "blocktree rotation request 1"


class RotationTerms(msgspec.Struct, frozen=True, kw_only=True):
    root: Principal
    old: PublicKeys
    request: str  #: the text of a request to join, by the new keys
    chains: tuple[Chain, ...]
    readcaps: tuple[Readcap, ...]


class RotationRequest(msgspec.Struct, frozen=True, kw_only=True):
    terms: RotationTerms
    signature: bytes

    @property
    def joining(self) -> Request:
        """The new keys' own request. Raises CommandError, SignatureError."""
        return read_request(self.terms.request)

    @property
    def handover(self) -> Handover:
        """For who gives. Raises as `joining`."""
        terms = self.terms
        return Handover(
            old=terms.old.principal, new=self.joining.terms.public, chains=terms.chains, readcaps=terms.readcaps
        )


def make_rotation_request(old: Signer, root: Principal, request: str, handover: Handover) -> str:
    """The text of the file; `request` is the new keys' request to join."""
    terms = RotationTerms(
        root=root, old=old.public, request=request, chains=handover.chains, readcaps=handover.readcaps
    )
    signature = old.sign(Label.ROTATION, encode(terms))
    return armour(TITLE, RotationRequest(terms=terms, signature=signature))


def read_rotation_request(text: str, root: Principal) -> RotationRequest:
    """A request for this domain, signed by the old keys and the new ones. Raises CommandError, SignatureError."""
    found = unarmour(text, TITLE, RotationRequest)
    if found.terms.root != root:
        raise CommandError(
            f"this rotation is for the domain of {found.terms.root}, not for that of {root}",
            kind=Kind.INVALID,
            hint="name the other domain with --domain",
        )
    found.terms.old.verify(Label.ROTATION, encode(found.terms), found.signature)
    if found.joining.principal == found.terms.old.principal:
        raise CommandError(
            "this rotation names the old keys as the new ones", hint="have it made anew there: bt key rotate"
        )
    return found
