"""One run of a command: the home, unlocked identities, opened trees. Everything is closed when the command ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path

from btfproto import opening
from btfproto.domain import DomainReader, no_readcap, open_volume, read_held
from btfproto.localfs import FilePins, FsOptions, LocalFs, Pins, StorePin
from btfproto.provider import Owner
from btfproto.revocations import RevocationView
from btfproto.store import Marked, Store
from btfproto.store.remote import StoreClient
from btlib.clocks import skew_text
from btlib.home import Domain, Home
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.unlocking import unlock_domain

from .asking import passphrase, passphrase_prompt
from .errors import CommandError
from .files.tree import Tree
from .output import remark

PATIENCE = 4.0  #: seconds of trying to reach a server: a restart is survived, and a user at a terminal told soon


def now() -> int:
    """The time, in the unit of capabilities: whole seconds."""
    return int(time.time())


def own() -> Owner:
    """Who owns what a command creates: the user who runs it."""
    return Owner(os.getuid(), os.getgid())


class Session:
    """What commands share. Unlocking costs a tenth of a second and a prompt, so each domain is unlocked once."""

    def __init__(self, passphrase_file: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._passphrase_file = passphrase_file
        self._environ = environ
        self._identities: dict[str, Identity] = {}

    @cached_property
    def home(self) -> Home:
        return Home.find(self._environ)

    def unlock(self, domain: Domain) -> Identity:
        """This machine's identity in a domain: an agent's, or by a passphrase, asked for where need be."""
        if domain.petname not in self._identities:
            prompt = passphrase_prompt(f"this machine in {domain.petname}")
            self._identities[domain.petname] = unlock_domain(domain, self._environ, self._passphrase_file, prompt)
        return self._identities[domain.petname]

    def hold(self, domain: Domain, identity: Identity) -> None:
        """Use an identity that was just made, without asking for its passphrase again."""
        self._identities[domain.petname] = identity

    def unlock_root(self, domain: Domain) -> Identity:
        """The root's own identity, where its credentials lie; asks for their passphrase where need be."""
        if not domain.root_credentials.exists():
            raise CommandError(
                f"the root's keys of {domain.petname} are not here: {domain.root_credentials_file} is missing",
                kind=Kind.NOT_FOUND,
                hint="use the machine where the domain was made, or bring the file back; the words make it anew: "
                "bt recover",
            )
        secret = passphrase(f"the root of {domain.petname}", self._passphrase_file, self._environ)
        return domain.root_credentials.unlock(secret)

    @contextmanager
    def attach(self, domain: Domain, paths: Sequence[BlockPath]) -> Iterator[Tree]:
        """The highest directory above all of `paths` that this machine may read, opened; committed at the end.

        Somebody who was granted `/photos` alone can work in it, though not in `/`, where its name stands.
        """
        with self.attach_local(domain, paths) as (tree, _, _):
            yield tree

    @contextmanager
    def attach_local(self, domain: Domain, paths: Sequence[BlockPath]) -> Iterator[tuple[Tree, LocalFs, Store]]:
        """The same, with what lies below it: for those who work on keys and records."""
        identity = self.unlock(domain)
        store = open_store(domain, identity)
        with ExitStack() as stack:
            stack.callback(store.close)
            pins = FilePins(domain.pins)
            stack.callback(pins.close)
            view = known_revocations(domain, store, pins)  # first: an old store is named as one, whatever it lacks
            anchor = _anchor(DomainReader(store, domain.root, view), identity, _common(paths))
            options = FsOptions(shared=isinstance(store, StoreClient))
            volume = open_volume(store, identity, anchor, now(), revocations=view)
            provider = LocalFs(store, identity, volume, options=options, pins=pins, revocations=view)
            stack.callback(provider.shutdown)
            yield Tree(provider, anchor, domain.petname), provider, store
            provider.sync()


def open_store(domain: Domain, identity: Identity, *, damaged: bool = False) -> Store:
    """The domain's store: on this machine, through the btfsd that holds it, or at its server.

    With `damaged`, one here that lost segments is opened for what is left.
    """
    return opening.open_store(domain, identity, program="bt", patience=PATIENCE, damaged=damaged)


def known_revocations(domain: Domain, store: Store, pins: Pins | None = None) -> RevocationView:
    """The domain's revocation list, fresh from the store and remembered, once the store is known not to have been put
    back; with `pins`, as long as it is used. Raises FsError (ROLLBACK), StoreError."""
    if pins is not None:
        StorePin(store, pins).start()
    elif isinstance(store, Marked):
        domain.pins.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(FilePins(domain.pins)) as known:
            StorePin(store, known).check(store.mark)
    view = RevocationView(store, domain.root, opening.memory_of(domain))
    view.refresh(now())
    skew = skew_text(view.seen.written, now())
    if view.seen.written > now() and skew is not None:
        remark(
            f"The clock of who revoked last is {skew}: one of the two is wrong. It works while they differ by a day."
        )
    opening.learn(domain, store)
    return view


def _anchor(reader: DomainReader, identity: Identity, path: BlockPath) -> BlockPath:
    held = read_held(reader, identity)
    readable = [key.path for key in held.keys if key.path.is_prefix_of(path)]
    if not readable:
        raise no_readcap(identity.principal, path, held.refused)
    return min(readable, key=lambda found: len(found.names))


def _common(paths: Sequence[BlockPath]) -> BlockPath:
    common = paths[0]
    while not all(common.is_prefix_of(path) for path in paths):
        common = common.parent or common
    return common
