"""Asking an agent: keys that sign and open in another process."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from .._suite_code import does_not_open
from ..errors import CredentialError
from ..identity import Identity
from ..kinds import Kind
from ..labels import Label
from ..principals import Principal
from ..public_keys import PublicKeys
from ._messages import (
    Done,
    Failed,
    GetStatus,
    Identified,
    Identify,
    Lock,
    Open,
    Opened,
    Reply,
    Request,
    Sign,
    Signed,
    Status,
    Stop,
    Unlock,
    decode_reply,
    encode_request,
)
from ._place import agent_socket
from ._wire import peer_uid, receive

PATIENCE = (
    30.0  #: seconds for an answer: unlocking takes what the passphrase's cost demands, and others may be before us
)


class AgentClient:
    """Talks to the agent that listens at a path. A connection a request, so threads and forks share nothing."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def listens(self) -> bool:
        """Whether an agent is there."""
        try:
            self._connect().close()
        except CredentialError:
            return False
        return True

    def status(self) -> Status:
        """Whose keys it holds. Raises CredentialError (UNREACHABLE where none listens), as all methods do."""
        reply = self.ask(GetStatus())
        if not isinstance(reply, Status):
            raise _wrong_answer()
        return reply

    def unlock(self, petname: str, passphrase: str) -> None:
        """Have it hold the keys of a domain of its home."""
        self._do(Unlock(petname, passphrase))

    def lock(self) -> None:
        """Have it forget all keys. When this returns, it answers no more with them."""
        self._do(Lock())

    def stop(self) -> None:
        """Have it forget all keys and end."""
        self._do(Stop())

    def identity(self, principal: Principal) -> Identity:
        """Keys and chains of a principal, whose private keys stay where they are. NOT_FOUND where it has them not."""
        reply = self.ask(Identify(principal))
        if not isinstance(reply, Identified) or reply.public.principal != principal:
            raise _wrong_answer()
        keys = AgentKeys(self, reply.public)
        return Identity(signer=keys, opener=keys, chains=tuple(reply.chains))

    def ask(self, request: Request) -> Reply:
        """The answer to a request; a failed one raises CredentialError."""
        try:
            with self._connect() as connection:
                connection.sendall(encode_request(request))
                reply = decode_reply(receive(connection))
        except OSError as error:
            raise self._unreachable(error) from error
        if isinstance(reply, Failed):
            raise CredentialError(reply.message, kind=_kind(reply.kind), hint=reply.hint)
        return reply

    def _do(self, request: Request) -> None:
        if not isinstance(self.ask(request), Done):
            raise _wrong_answer()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.place))
            if peer_uid(connection) != os.geteuid():
                raise CredentialError(f"the agent at {self.place} is another user's", hint="look at who made that file")
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _unreachable(self, error: OSError) -> CredentialError:
        return CredentialError(
            f"no agent answers at {self.place}: {error.strerror or error}",
            kind=Kind.UNREACHABLE,
            hint="start it with: bt agent start",
        )

    def __repr__(self) -> str:
        return f"AgentClient({str(self.place)!r})"


class AgentKeys:
    """A `Signer` and `Opener` whose keys an agent holds. Thread-safe; each use is a connection."""

    __slots__ = ("_client", "public")

    def __init__(self, client: AgentClient, public: PublicKeys) -> None:
        self._client = client
        self.public = public

    def sign(self, label: Label, message: bytes) -> bytes:
        """See `Signer.sign`."""
        reply = self._client.ask(Sign(self.public.principal, label.value, bytes(message)))
        if not isinstance(reply, Signed):
            raise _wrong_answer()
        return reply.signature

    def open(self, label: Label, info: bytes, sealed: bytes) -> bytes:
        """See `Opener.open`."""
        try:
            reply = self._client.ask(Open(self.public.principal, label.value, bytes(info), bytes(sealed)))
        except CredentialError as error:
            if error.kind is Kind.INTEGRITY:
                raise does_not_open() from None
            raise
        if not isinstance(reply, Opened):
            raise _wrong_answer()
        return reply.plain

    def __repr__(self) -> str:
        return f"AgentKeys({self.public!r})"


def identity_from_agent(environ: Mapping[str, str], principal: Principal) -> Identity | None:
    """A principal's identity where an agent holds its keys; None where there is no agent, or it holds them not."""
    place = agent_socket(environ)
    if not place.exists():
        return None
    try:
        return AgentClient(place).identity(principal)
    except CredentialError:
        return None


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError:
        return Kind.INTERNAL


def _wrong_answer() -> CredentialError:
    return CredentialError("the agent gave another answer than one to the question", kind=Kind.PROTOCOL)
