"""AUTH: how a principal proves on a link who it is. Pure.

    transcript = SHA-256(client's certificate) ‖ SHA-256(server's certificate)         certificates in DER
    signature  = sign(LINK_CLIENT or LINK_SERVER, transcript ‖ principal)
    AUTH       = public keys ‖ chains ‖ signature                                       encoded by btserde

Both certificates are ephemeral, and TLS has proved that each end holds the key of its own. The signature covers both,
so an AUTH is worth nothing on another link; the two labels keep either side from reflecting the other's. What the
chains are worth is not decided here.
"""

from __future__ import annotations

import enum
import hashlib

import msgspec
from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.labels import Label
from btlib.public_keys import PublicKeys
from btlib.writecaps import Chain
from btserde import Encoder, Limits, SerdeError, decode

from .errors import AuthenticationError, RemoteProtocolError

MAX_CHAINS = 8  #: chains shown by one principal: one for each domain or service that it has to do with
MAX_AUTH = 64 * 1024  #: bytes of an AUTH frame; with three caps about 1,000, with eight of a post-quantum suite 60,000

_LIMITS = Limits(max_size=MAX_AUTH, max_count=64)


class Role(enum.Enum):
    """Which end of a link."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Role:
        return Role.SERVER if self is Role.CLIENT else Role.CLIENT

    @property
    def label(self) -> Label:
        return Label.LINK_CLIENT if self is Role.CLIENT else Label.LINK_SERVER


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    """One principal's proof."""

    public: PublicKeys
    chains: tuple[Chain, ...]
    signature: bytes


_ENCODER: Encoder[Auth] = Encoder(Auth)


def transcript(client_certificate: bytes, server_certificate: bytes) -> bytes:
    """What both sides sign: this link and no other."""
    return hashlib.sha256(client_certificate).digest() + hashlib.sha256(server_certificate).digest()


def prove(identity: Identity, role: Role, signed: bytes) -> bytes:
    """The payload of an identity's AUTH frame. Raises AuthenticationError if its chains do not fit one."""
    chains = identity.chains[:MAX_CHAINS]
    signature = identity.signer.sign(role.label, signed + identity.principal.digest)
    payload = _ENCODER.encode(Auth(public=identity.public, chains=chains, signature=signature))
    if len(payload) > MAX_AUTH:
        raise AuthenticationError(
            f"the {len(chains)} chains of {identity.principal} have {len(payload)} bytes, "
            f"more than the {MAX_AUTH} of an AUTH frame",
            hint="show fewer chains",
        )
    return payload


def verify(payload: bytes, role: Role, signed: bytes) -> Auth:
    """The proof, if it is one by whoever has `role` on the link of this transcript.

    Raises RemoteProtocolError for what is no AUTH, AuthenticationError for a signature that does not bind this link.
    """
    if len(payload) > MAX_AUTH:
        raise RemoteProtocolError(f"an AUTH frame of {len(payload)} bytes exceeds the limit of {MAX_AUTH}")
    try:
        auth = decode(payload, Auth, _LIMITS)
    except SerdeError as error:
        raise RemoteProtocolError(f"an AUTH frame is malformed: {error}") from error
    if len(auth.chains) > MAX_CHAINS:
        raise RemoteProtocolError(f"an AUTH frame shows {len(auth.chains)} chains, more than {MAX_CHAINS}")
    try:
        auth.public.verify(role.label, signed + auth.public.principal.digest, auth.signature)
    except BlocktreeError as error:
        raise AuthenticationError(f"{auth.public.principal} did not prove itself on this link: {error}") from error
    return auth
