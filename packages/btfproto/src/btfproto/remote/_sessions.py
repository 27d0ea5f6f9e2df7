"""`SessionTable`: which sessions there are, whose they are, and when those without a link end.

A session belongs to the principals that attached it; its id alone is worth nothing on another principal's link. When
its link is lost it waits for its client for a while, with open files and locks; then it ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from btlib.kinds import Kind
from bttp import Request

from btfproto.errors import FsError
from btfproto.provider import FsProvider

from ._attachment import Attachment
from ._limits import SessionLimits
from ._session import NO_STANDING, Session, Standing
from ._shared import SharedProvider

SESSION_ID_SIZE = 16


@dataclass(slots=True)
class _Place:
    """A session and where its client is."""

    session: Session
    link: int | None
    timer: threading.Timer | None = None


class SessionTable:
    """Thread-safe."""

    def __init__(self, limits: SessionLimits, random: Callable[[int], bytes]) -> None:
        self._limits = limits
        self._random = random
        self._lock = threading.Lock()
        self._places: dict[bytes, _Place] = {}
        self._shared: dict[FsProvider, SharedProvider] = {}
        self._links: set[int] = set()

    def __len__(self) -> int:
        return len(self._places)

    def figures(self) -> dict[str, int]:
        """How many sessions there are, without a link too, and what they have open."""
        sessions = [place.session for place in self._places.copy().values()]
        return {
            "sessions": len(sessions),
            "open files": sum(session.open_files for session in sessions),
            "lock owners": sum(session.lock_owners for session in sessions),
        }

    def open(
        self, attachment: Attachment, request: Request, *, read_only: bool = False, standing: Standing = NO_STANDING
    ) -> Session:
        """A new session for whoever speaks on this link. Raises FsError (LIMIT)."""
        principals = request.peer.principals
        with self._lock:
            self._check_room(request)
            shared = self._shared.setdefault(attachment.provider, SharedProvider(attachment.provider))
            session = Session(
                self._random(SESSION_ID_SIZE),
                principals,
                attachment,
                shared,
                self._limits,
                read_only=read_only,
                standing=standing,
            )
            self._places[session.identity] = _Place(session, request.link.id)
        self._follow(request)
        return session

    def find(self, identity: bytes, request: Request) -> Session | None:
        """The session of this id, if it is the client's own. It follows its client to another link."""
        place = self._places.get(identity)
        if place is None or place.session.principals != request.peer.principals:
            return None
        if place.link != request.link.id:
            with self._lock:
                place.link = request.link.id
                if place.timer is not None:
                    place.timer.cancel()
                    place.timer = None
            self._follow(request)
        return place.session

    def end(self, session: Session) -> None:
        """End a session now; idempotent."""
        with self._lock:
            place = self._places.pop(session.identity, None)
            if place is not None and place.timer is not None:
                place.timer.cancel()
        session.end()
        with self._lock:
            if not session.shared.sessions:
                self._shared.pop(session.provider, None)

    def end_all(self) -> None:
        for place in list(self._places.values()):
            self.end(place.session)

    def _check_room(self, request: Request) -> None:
        limits = self._limits
        if len(self._places) >= limits.max_sessions:
            raise FsError(
                Kind.LIMIT, f"the server has {limits.max_sessions} sessions", "try later, or raise max_sessions there"
            )
        mine = sum(place.session.principals == request.peer.principals for place in self._places.values())
        if mine >= limits.max_sessions_per_principal:
            raise FsError(
                Kind.LIMIT,
                f"{request.peer} has {mine} sessions at this server",
                "unmount some, or raise max_sessions_per_principal there",
            )

    def _follow(self, request: Request) -> None:
        """Be told when this link ends."""
        link = request.link.id
        with self._lock:
            if link in self._links:
                return
            self._links.add(link)
        request.link.on_close(lambda: self._link_closed(link))

    def _link_closed(self, link: int) -> None:
        with self._lock:
            self._links.discard(link)
            for place in self._places.values():
                if place.link == link:
                    place.link = None
                    place.timer = threading.Timer(self._limits.grace_seconds, self.end, [place.session])
                    place.timer.daemon = True
                    place.timer.start()
