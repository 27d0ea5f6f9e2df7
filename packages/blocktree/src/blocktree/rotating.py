"""Rotating: new keys take the place of a machine's, or of those that act for the root; nobody loses anything by it.

    1  new keys, in FILE.next                          nothing else knows of them
    2  what the old ones have is recorded for them     signed by the root, an owner, or the root's words
    3  what the old ones gave is given anew by them    so that nothing hangs on the old ones
    4  FILE is replaced                                only if the new keys can do all that the old ones can
    5  the old ones are revoked, from a moment on      what still runs with them has until then
    6  FILE.old is removed

Every step is durable before the next one begins, and is done again without harm: whoever is interrupted gives the same
command again. Until step 4 the old keys are whole, from then on the new ones are.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from btfproto.domain import (
    DomainReader,
    hand_over,
    pass_on,
    prepare,
    recover_domain,
    remember_chains,
    revoke_access,
    shortfall,
)
from btfproto.store import Store
from btlib.credentials import CredentialStore
from btlib.errors import BlocktreeError
from btlib.home import Domain, Phase, Succession, open_credential_store
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights

from .delegating import Enrolment
from .errors import CommandError
from .files.local import local_errors
from .principals import members
from .session import known_revocations, now

DEPUTY_LIFETIME = 50 * 366 * 86_400  #: seconds; keys that act for the root are rotated when somebody wants to
MEMBER_LIFETIME = 365 * 86_400  #: seconds, of a membership that is issued anew: what bt enroll sign gives by default


@dataclass(kw_only=True)
class Rotated:
    """What was done. `revoked_from`: None where the old keys still count, and why stands in `refused`."""

    old: Principal
    new: Principal
    given_anew: int = 0
    revoked_from: int | None = None
    refused: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Rotation:
    """One rotation, from wherever it stands. `make` makes the new keys in the store of a file that is given."""

    domain: Domain
    files: Succession
    secret: str
    make: Callable[[], PublicKeys]

    @property
    def in_use(self) -> CredentialStore:
        return open_credential_store(self.files.file, self.domain.tcti)

    @property
    def next(self) -> CredentialStore:
        return open_credential_store(self.files.next, self.domain.tcti)

    def begin(self) -> tuple[Identity, Identity]:
        """The old keys and the new ones, which are made where there are none (step 1)."""
        old = self.in_use.unlock(self.secret)
        if not self.files.next.exists():
            self.make()
        return old, self.next.unlock(self.secret)

    def keep(self, *chains: Chain) -> Identity:
        """Put chains to the new keys; the new keys."""
        return self.next.add_chains(self.secret, *chains) if chains else self.next.unlock(self.secret)

    def take_over(self, store: Store, giver: Identity) -> None:
        """Step 2, for a machine. Raises FsError."""
        old, new = self.begin()
        reader = DomainReader(store, self.domain.root)
        brought = prepare(reader, old, new.public)
        done = hand_over(
            store, giver, brought, self.domain.root, now=now(), random=secrets.token_bytes, have=new.chains
        )
        self.keep(*done.chains)

    def deputize(self, store: Store, root: Identity) -> None:
        """Step 2, for keys that act for the root: everything, from the root itself. Raises FsError."""
        _, new = self.begin()
        if not new.chains:
            done = recover_domain(
                store, root, new.public, now=now(), random=secrets.token_bytes, lifetime=DEPUTY_LIFETIME
            )
            self.keep(done.chain)

    def change_over(self, store: Store) -> Rotated:
        """Steps 3 and 4. Raises CommandError where the new keys could do less than the old ones."""
        old, new = self.begin()
        root = self.domain.root
        report = Rotated(old=old.principal, new=new.principal)
        if old.principal != root:
            missing = shortfall(DomainReader(store, root), old, new, now())
            if missing:
                raise CommandError(
                    f"the new keys would lose {', '.join(missing)}; the old ones stay in use",
                    kind=Kind.FORBIDDEN,
                    hint="have it signed by somebody who may give all of that, an owner or the root",
                )
            passed = pass_on(store, new, old.principal, root, now=now(), random=secrets.token_bytes)
            report.given_anew, report.refused = passed.recorded, list(passed.refused)
        with local_errors(self.files.file):
            self.files.promote()
        return report

    def retire(self, store: Store, signer: Identity, since: int, report: Rotated) -> None:
        """Steps 5 and 6. Where nobody here may revoke, the old keys go on to count, and that is said."""
        root = self.domain.root
        if report.old not in (root, report.new):
            try:
                revoke_access(
                    store,
                    signer,
                    root,
                    principals={report.old: since},
                    serials={},
                    now=now(),
                    random=secrets.token_bytes,
                    seen=known_revocations(self.domain, store).seen,
                )
                report.revoked_from = since
            except BlocktreeError as error:
                if error.kind is not Kind.FORBIDDEN:
                    raise
                report.refused.append(f"the old keys still count: an owner has to run bt revoke {report.old}")
        with local_errors(self.files.file):
            self.files.finish()

    def promoted(self) -> Rotated:
        """After step 4: which keys were old, and which are new."""
        old = open_credential_store(self.files.old, self.domain.tcti).public().principal
        return Rotated(old=old, new=self.in_use.public().principal)

    @property
    def phase(self) -> Phase:
        return self.files.phase()


def renew_members(domain: Domain, store: Store, issuer: Identity) -> int:
    """Put memberships issued by `issuer` into the records of all who were enrolled here: servers look there, so a
    machine that comes with one from the old keys gets in. How many were put. Raises BlocktreeError."""
    view = known_revocations(domain, store)
    reader = DomainReader(store, domain.root, view)
    scope = reader.domain().scope
    done = 0
    for member in members(domain):
        subject = member.request.principal
        if view.current.revoked(subject, now()) is not None:
            continue
        _, grants = reader.grants(scope, subject)
        if any(_still_good(reader, chain, subject, member.host, issuer.principal) for chain in grants.chains):
            continue
        enrolment = Enrolment(
            issuer=issuer,
            root=domain.root,
            subject=subject,
            host=member.host,
            now=now(),
            until=now() + MEMBER_LIFETIME,
            random=secrets.token_bytes,
        )
        remember_chains(store, issuer, subject, enrolment.chains(), domain.root, now=now(), random=secrets.token_bytes)
        done += 1
    return done


def _still_good(reader: DomainReader, chain: Chain, subject: Principal, host: str, issuer: Principal) -> bool:
    last = chain.last
    if last is None or last.block_path.names != ("hosts", host) or last.issuer.principal != issuer:
        return False
    return verify_chain(
        chain, root=reader.root, subject=subject, right=Rights(0), now=now(), revocations=reader.revocations
    ).allowed
