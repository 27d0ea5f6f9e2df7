"""The opening of a link: preface, TLS, HELLO and AUTH, until both sides have proven who they are. Pure.

    client                                                  server
    preface (its certificate), ClientHello     ->
                                               <-           ServerHello .. Finished
    Certificate .. Finished                    ->
                                               <-           HELLO, AUTH…
    HELLO, AUTH…  (if it admits the server)    ->
                                               <-           ACCEPT, or REFUSE with the reason

A client shows its identities only to a server that it admitted. Nothing else is sent before ACCEPT.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Protocol

from btlib.identity import Identity

from ._auth import Auth, Role, prove, transcript, verify
from ._frames import FrameKind, Hello, frame, hello_frame
from ._limits import MAX_PRINCIPALS, Limits
from ._preface import VERSION
from .errors import RemoteProtocolError


class TlsKeys(Protocol):
    """The ephemeral keys of a process, as the core needs them. Thread-safe."""

    @property
    def certificate(self) -> bytes:
        """This side's certificate (DER)."""
        ...

    def client_context(self) -> ssl.SSLContext: ...

    def server_context(self, client_certificate: bytes) -> ssl.SSLContext:
        """A context that takes the client of this certificate. Raises RemoteProtocolError if it is none."""
        ...


class Introduction:
    """What both sides of one link say about themselves."""

    def __init__(
        self, role: Role, certificate: bytes, identities: Sequence[Identity], limits: Limits, instance: int
    ) -> None:
        self._role = role
        self._certificate = certificate
        self._identities = tuple(identities)
        self._limits = limits
        self._instance = instance
        self._signed = b""
        self._proofs: list[Auth] = []
        self.hello: Hello | None = None  #: the peer's, once read

    def bind(self, peer_certificate: bytes) -> None:
        """TLS is done: from here on everything is signed for this pair of certificates."""
        ends = (self._certificate, peer_certificate)
        self._signed = transcript(*(ends if self._role is Role.CLIENT else reversed(ends)))

    def frames(self) -> list[bytes]:
        """This side's HELLO and AUTH frames."""
        hello = Hello(
            version=VERSION,
            auths=len(self._identities),
            max_calls=self._limits.max_calls,
            max_body=self._limits.max_body,
            send_window=self._limits.send_window,
            stream_window=self._limits.stream_window,
            link_window=self._limits.link_window,
            instance=self._instance,
        )
        proofs = map(self.prove, self._identities)
        return [hello_frame(hello), *(frame(FrameKind.AUTH, 0, proof) for proof in proofs)]

    def prove(self, identity: Identity) -> bytes:
        """The payload of an AUTH frame on this link. Raises AuthenticationError where it does not fit one."""
        return prove(identity, self._role, self._signed)

    def verify(self, payload: bytes) -> Auth:
        """The peer's proof. Raises AuthenticationError, or RemoteProtocolError for a frame that is none."""
        return verify(payload, self._role.other, self._signed)

    def take_hello(self, hello: Hello) -> None:
        """Raises RemoteProtocolError for one that cannot be."""
        if hello.version != VERSION:
            raise RemoteProtocolError(f"the peer speaks version {hello.version} of bttp, not {VERSION}")
        if hello.auths > MAX_PRINCIPALS:
            raise RemoteProtocolError(f"the peer announces {hello.auths} principals, more than {MAX_PRINCIPALS}")
        if hello.auths == 0 and self._role is Role.CLIENT:
            raise RemoteProtocolError("the server does not say who it is")
        self.hello = hello

    def take_auth(self, payload: bytes) -> None:
        """Raises AuthenticationError, or RemoteProtocolError for a frame that is none."""
        auth = self.verify(payload)
        if any(auth.public == proof.public for proof in self._proofs):
            raise RemoteProtocolError(f"{auth.public.principal} proves itself twice")
        self._proofs.append(auth)

    @property
    def proofs(self) -> tuple[Auth, ...]:
        return tuple(self._proofs)

    @property
    def complete(self) -> bool:
        """Whether all announced AUTH frames have come."""
        return self.hello is not None and len(self._proofs) == self.hello.auths
