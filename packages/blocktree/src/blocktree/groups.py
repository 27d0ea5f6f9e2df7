"""The groups of a domain as this machine knows them, and whom a user means by a name: somebody, or a group."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from btfproto.domain import DomainReader, GroupKeeper, survey_records
from btfproto.store import Store
from btlib.errors import CapabilityError, SealError
from btlib.groups import ManagedGroup, Membership, open_as_manager, open_as_member
from btlib.home import Domain
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.public_keys import PublicKeys

from .contacts import refuse_changed_key
from .errors import CommandError
from .principals import SUFFIX, find_member, find_principal
from .session import Session, known_revocations, now, open_store


@dataclass(frozen=True, kw_only=True)
class KnownGroup:
    """A group in the records. `name`: where this machine is in it or manages it; `managed`: where it manages it."""

    membership: Membership
    name: str | None
    managed: ManagedGroup | None

    @property
    def called(self) -> str:
        principal = str(self.membership.principal)
        return principal if self.name is None else f"{self.name} ({principal})"

    def require_managed(self) -> ManagedGroup:
        """Raises CommandError where this machine does not manage it."""
        if self.managed is None:
            raise CommandError(
                f"this machine does not manage the group {self.called}",
                kind=Kind.FORBIDDEN,
                hint="do it on a machine that does (bt group show), or with the root's keys: --root",
            )
        return self.managed


def known_groups(domain: Domain, store: Store, identity: Identity) -> list[KnownGroup]:
    """All groups whose records verify, those with names first. Raises FsError, StoreError."""
    reader = DomainReader(store, domain.root, known_revocations(domain, store))
    found = [_known(identity, one.membership) for one in survey_records(reader).groups]
    return sorted(found, key=lambda group: (group.name is None, group.name or "", str(group.membership.principal)))


def find_group(groups: list[KnownGroup], text: str) -> KnownGroup | None:
    """Which one is meant by a name or by the principal that it is, or was."""
    wanted = Principal.parse(text) if text.startswith("bt1") else None
    for group in groups:
        if wanted in (group.membership.principal, group.membership.former_principal) if wanted else group.name == text:
            return group
    return None


def require_group(groups: list[KnownGroup], text: str) -> KnownGroup:
    """The same. Raises CommandError (NOT_FOUND)."""
    found = find_group(groups, text)
    if found is None:
        raise CommandError(f"no group is called {text} here", kind=Kind.NOT_FOUND, hint="see: bt group list")
    return found


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who shall be given something: public keys, and the group where it is one."""

    keys: PublicKeys
    group: KnownGroup | None = None


def find_subject(session: Session, domain: Domain, text: str) -> Subject:
    """Whom a user means, contacts and machines first. Raises CommandError; refuses a key that changed."""
    if text.endswith(SUFFIX) or "/" in text:
        card = find_member(domain, text)
        refuse_changed_key(domain, session.home, card)
        return Subject(keys=card.request.terms.public)
    try:
        return Subject(keys=find_member(domain, text).request.terms.public)
    except CommandError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        group = _find_group(session, domain, text)
        if group is None:
            raise
    return Subject(keys=group.membership.terms.keys, group=group)


def find_somebody(session: Session, domain: Domain, text: str) -> Principal:
    """The same, where the name of keys is enough."""
    try:
        return find_principal(domain, text)
    except CommandError as error:
        group = _find_group(session, domain, text) if error.kind is Kind.NOT_FOUND else None
        if group is None:
            raise
    return group.membership.principal


def keeper(domain: Domain, store: Store, identity: Identity) -> GroupKeeper:
    """Who changes groups, at this moment."""
    return GroupKeeper(store=store, identity=identity, root=domain.root, now=now(), random=secrets.token_bytes)


def _find_group(session: Session, domain: Domain, text: str) -> KnownGroup | None:
    identity = session.unlock(domain)
    store = open_store(domain, identity)
    try:
        return find_group(known_groups(domain, store, identity), text)
    finally:
        store.close()


def _known(identity: Identity, membership: Membership) -> KnownGroup:
    try:
        managed = open_as_manager(identity.opener, membership)
        return KnownGroup(membership=membership, name=managed.name, managed=managed)
    except (CapabilityError, SealError):
        pass
    try:
        name = open_as_member(identity.opener, membership).name
    except (CapabilityError, SealError):
        name = None
    return KnownGroup(membership=membership, name=name, managed=None)
