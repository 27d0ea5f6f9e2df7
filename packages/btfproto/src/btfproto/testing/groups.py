"""A small domain with a group in it, for tests of groups: `/photos`, a group of the machine's, and a clock.

friends = Friends()
friends.give(Rights.WRITE)
friends.add(ALICE, BOB)
friends.remove(BOB)
"""

from __future__ import annotations

from btlib.block import Header
from btlib.groups import ManagedGroup
from btlib.identity import Identity
from btlib.public_keys import PublicKeys, Suite
from btlib.readcaps import ReadKey
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights

from ..domain import (
    AccessExplanation,
    Content,
    DomainReader,
    Draft,
    GroupKeeper,
    Place,
    explain_granted,
    grant_access,
    open_volume,
    read_held,
)
from ..errors import FsError
from ..store import Store
from .domains import DAY, NOW, World, opaque_attributes, person

NOTHING = Rights(0)
ALICE, BOB, CAROL = person(60), person(61), person(62)


class Friends:
    """A domain with `/photos`, a group of the machine's, and a clock."""

    def __init__(self, store: Store | None = None) -> None:
        self.world = World.make(store)
        self.now = NOW
        self.photos = ReadKey(
            block=self.world.random(16), key_epoch=0, key=self.world.random(32), path=self.world.path("photos")
        )
        draft = Draft(self.world.root.signer, Chain(), now=NOW)
        attributes = opaque_attributes(self.photos.block, self.photos.key, NOW)
        scope = self.world.created.scope
        draft.put(block=self.photos.block, scope=scope, content=Content(), attributes=attributes)
        self.world.store.commit(draft.commit(self.world.random(16)))
        self.first = self.keeper().create("friends", Suite.ED25519_X25519)

    def keeper(self, identity: Identity | None = None) -> GroupKeeper:
        return GroupKeeper(
            store=self.world.store,
            identity=identity or self.world.machine,
            root=self.world.root.principal,
            now=self.now,
            random=self.world.random,
        )

    def reader(self, store: Store | None = None) -> DomainReader:
        return DomainReader(store or self.world.store, self.world.root.principal)

    @property
    def group(self) -> ManagedGroup:
        (group,) = self.keeper().managed()
        return group

    def add(self, *who: Identity, until: int | None = None) -> int:
        self.now += 2
        return self.keeper().add(self.group, [one.public for one in who], until or NOW + 10 * DAY).issued

    def remove(self, *who: Identity) -> None:
        self.now += 2
        self.keeper().remove(self.group, {one.principal for one in who})
        self.now += 2

    def give(self, rights: Rights = NOTHING, *, read: bool = True, to: PublicKeys | None = None) -> None:
        """To the group, as an owner does."""
        grant_access(
            self.world.store,
            self.world.machine,
            self.photos,
            to or self.group.membership.terms.keys,
            read=read,
            rights=rights,
            now=self.now,
            not_after=NOW + 20 * DAY,
            may_delegate=bool(rights),
            random=self.world.random,
        )
        self.keeper().issue(self.group)

    def may_read(self, who: Identity, store: Store | None = None) -> bool:
        try:
            volume = open_volume(store or self.world.store, who, self.photos.path, self.now)
        except FsError:
            return False
        return volume.key == self.photos.key

    def may_write(self, who: Identity) -> bool:
        held = read_held(self.reader(), who).identity
        return any(self.allows(chain, who) for chain in held.chains)

    def allows(self, chain: Chain, who: Identity) -> bool:
        return verify_chain(
            chain,
            root=self.world.root.principal,
            subject=who.principal,
            right=Rights.WRITE,
            now=self.now,
            path=self.photos.path,
            revocations=self.reader().revocations,
        ).allowed

    def photos_header(self) -> Header:
        """Of `/photos`, as it stands in the store."""
        reader = self.reader()
        head = reader.head(self.photos.block)
        assert head is not None
        return reader.verify(head)

    def explained(self, who: Identity) -> AccessExplanation:
        reader, scope = self.reader(), self.photos_header().scope
        place = Place(path=self.photos.path, block=self.photos.block, key_epoch=0, scope=scope)
        return explain_granted(reader, [place], self.photos.path, who.principal, self.now)
