"""What the inviting machine does for the one that knew its code: sign its membership, then give it access.

Access comes after the other machine has said that it is a member, so nobody is given anything who did not get there.
"""

from __future__ import annotations

from dataclasses import dataclass

from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.paths import BlockPath, check_name
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.writecaps import Rights

from .commands.grant import Wish, give_access
from .enrolment import Request, read_request
from .errors import CommandError
from .knocking import INVITE_ANEW
from .membership import answer
from .output import remark
from .principals import Member, remember
from .reporting import make_report
from .session import Session, now


@dataclass(frozen=True, kw_only=True)
class Gift:
    """What a machine gets besides its membership."""

    place: BlockPath
    read: bool
    rights: Rights
    words: tuple[str, ...]  #: the same for people


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Who was let in."""

    host: str
    public: PublicKeys
    ends: int  #: the last second of its membership

    @property
    def principal(self) -> Principal:
        return self.public.principal


class Hosting:
    """For one invitation. A `Host` of `inviting`."""

    def __init__(
        self, session: Session, domain: Domain, gift: Gift | None, *, name: str | None, server: str | None, until: int
    ) -> None:
        """`name` replaces the one that the guest wishes for."""
        self.domain = domain
        self.gift = gift
        self.failure: BlocktreeError | None = None  #: why the gift was not given
        self._session = session
        self._name = None if name is None else check_name(name)
        self._server = server
        self._until = until
        self._guest: Guest | None = None

    def check(self) -> None:
        """Find out before a code is shown whether this machine may let others join. Raises BlocktreeError."""
        identity = self._session.unlock(self.domain)
        answer(self._session, self.domain, identity.principal, "x", None, moment=now(), until=self._until)
        if self._server is None:
            remark("bt: no server is named, so the new machine has to: bt join --server HOST:PORT")

    @property
    def guest(self) -> Guest:
        """Raises CommandError before there is one."""
        if self._guest is None:
            raise CommandError("nobody was let in", kind=Kind.INTERNAL)
        return self._guest

    def respond(self, request: bytes) -> bytes:
        text = request.decode("ascii", "replace")
        asked = _read(text)
        host = self._name or asked.terms.host
        signed = answer(
            self._session, self.domain, asked.principal, host, self._server, moment=now(), until=self._until
        )
        remember(self.domain, Member(host, asked, text))
        self._guest = Guest(host=host, public=asked.terms.public, ends=signed.ends)
        return signed.text.encode("ascii")

    def joined(self) -> bytes:
        if self.gift is None:
            return make_report(None, (), None)
        wish = Wish(self.guest.public, self.gift.read, self.gift.rights, self._until, may_delegate=False)
        try:
            give_access(self._session, self.domain, self.gift.place, wish)
        except BlocktreeError as error:
            self.failure = error
        why = None if self.failure is None else self.failure.message
        return make_report(f"/{'/'.join(self.gift.place.names)}", self.gift.words, why)


def _read(text: str) -> Request:
    """Raises CommandError: what is wrong is the other machine's fault, not that of the command here."""
    try:
        return read_request(text)
    except BlocktreeError as error:
        raise CommandError(
            f"who knew the code sent no good request: {error.message}", kind=Kind.PROTOCOL, hint=INVITE_ANEW
        ) from error
