"""A file system whose identity is in a chip writes with the keys of its process, and the chip hardly notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from btfproto.domain import DomainReader, open_volume
from btfproto.errors import FsError
from btfproto.localfs import FsOptions, LocalFs
from btfproto.store import Commit, CommitAnswer, MemoryStore
from btfproto.store.check import CommitChecker
from btfproto.testing.domains import NOW, World
from btfproto.testing.provider import read_file, write_file
from btlib.errors import CredentialError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.process_keys import LIFETIME, RENEWAL, for_process
from btlib.public_keys import PublicKeys
from btlib.signing import Signer
from btlib.writecaps import Chain, Rights, issue_writecap

from .conftest import make_world

HOUR = 3600


class CountingSigner:
    """Stands for the chip: no `KeyPair`, and it counts."""

    def __init__(self, keys: Signer) -> None:
        self._keys = keys
        self.signed: list[Label] = []
        self.away = False

    @property
    def public(self) -> PublicKeys:
        return self._keys.public

    def sign(self, label: Label, message: bytes) -> bytes:
        if self.away:
            raise CredentialError("no chip answers", kind=Kind.UNREACHABLE)
        self.signed.append(label)
        return self._keys.sign(label, message)


class CheckingStore(MemoryStore):
    """Checks every commit as a server does that holds no keys."""

    check: Callable[[Commit], None] | None = None

    def commit(self, commit: Commit) -> CommitAnswer:
        if self.check is not None:
            self.check(commit)
        return super().commit(commit)


class Stage:
    """A world whose machine has its keys in a chip, a checked store, and a clock to turn."""

    def __init__(self) -> None:
        store = CheckingStore()
        self.world: World = make_world(store)
        self.now = NOW
        root = self.world.root.principal
        store.check = CommitChecker(store, DomainReader(store, root), root, lambda: self.now)
        machine = self.world.machine
        self.chip = CountingSigner(machine.signer)
        self.machine: Identity = for_process(replace(machine, signer=self.chip))

    def open(self, identity: Identity | None = None) -> LocalFs:
        chosen = identity or self.machine
        volume = open_volume(self.world.store, chosen, self.world.path(), self.now)
        options = FsOptions(commit_interval=None)
        return LocalFs(self.world.store, chosen, volume, options=options, clock=lambda: self.now * 10**9)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_many_commits_cost_one_signature_of_the_chip(stage: Stage) -> None:
    with stage.open() as fs:
        for number in range(20):
            write_file(fs, fs.root, f"file {number}", b"content")
            fs.sync()
    assert stage.chip.signed == [Label.WRITECAP]


def test_a_reader_with_other_keys_believes_what_was_written(stage: Stage) -> None:
    with stage.open() as fs:
        write_file(fs, fs.root, "file", b"content")
    with stage.open(stage.world.machine) as fs:
        assert read_file(fs, fs.lookup(fs.root, "file").inode) == b"content"
        write_file(fs, fs.root, "file", b"changed by the identity itself")
    stage.now += LIFETIME * 3  # the certificate ended long ago; what was written under it stays
    with stage.open() as fs:
        assert read_file(fs, fs.lookup(fs.root, "file").inode) == b"changed by the identity itself"


def test_the_certificate_is_renewed_while_the_file_system_goes_on(stage: Stage) -> None:
    with stage.open() as fs:
        for hour in range(72):
            stage.now = NOW + hour * HOUR
            write_file(fs, fs.root, f"hour {hour}", b"content")
            fs.sync()
    assert stage.chip.signed == [Label.WRITECAP] * (72 * HOUR // RENEWAL)


def test_a_chip_that_is_away_stops_writers_only_when_the_certificate_ends(stage: Stage) -> None:
    with stage.open() as fs:
        write_file(fs, fs.root, "before", b"content")
        fs.sync()
        stage.chip.away = True
        stage.now = NOW + LIFETIME - 1
        write_file(fs, fs.root, "meanwhile", b"content")
        fs.sync()
        stage.now = NOW + LIFETIME + 1
        write_file(fs, fs.root, "after", b"content")
        with pytest.raises(FsError, match="no chip answers"):
            fs.sync()
        stage.chip.away = False
        fs.sync()
    assert stage.chip.signed == [Label.WRITECAP] * 2


def test_where_the_chain_may_not_be_delegated_the_chip_signs_each_commit(stage: Stage) -> None:
    world = stage.world
    fixed = replace(stage.machine, chains=(_not_delegable(world),))
    volume = replace(open_volume(world.store, world.machine, world.path(), stage.now), chain=fixed.chains[0])
    options = FsOptions(commit_interval=None)
    with LocalFs(world.store, fixed, volume, options=options, clock=lambda: stage.now * 10**9) as fs:
        for number in range(3):
            write_file(fs, fs.root, f"file {number}", b"content")
            fs.sync()
    assert stage.chip.signed.count(Label.COMMIT) >= 3
    assert Label.WRITECAP not in stage.chip.signed


def _not_delegable(world: World) -> Chain:
    return issue_writecap(
        world.root.signer,
        Chain(),
        subject=world.machine.principal,
        path=world.path(),
        scope=world.created.scope,
        rights=Rights.WRITE,
        not_before=NOW - HOUR,
        not_after=NOW + 86_400,
        may_delegate=False,
        serial=bytes(16),
    )
