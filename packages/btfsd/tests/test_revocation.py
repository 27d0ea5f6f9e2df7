"""btfsd and the revocation list: taken over at once, kept through a restart, and not given up for an older one."""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from pathlib import Path

import msgspec
import pytest
from btfproto.domain import NOTHING_SEEN, RevokedAccess, revoke_access
from btfproto.errors import FsError
from btfproto.opening import Staleness, memory_of, open_thin, store_at
from btfproto.revocations import Remembered
from btfproto.store import Store
from btlib import Identity, KeyPair, Rights, Suite
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.writecaps import Chain, issue_writecap
from bttp.blocking import BlockingLink, connect
from bttp.errors import BttpError

from .conftest import Machine
from .test_daemon import endpoint

DAY = 86_400


def member(machine: Machine) -> Identity:
    """Somebody else who may talk to the server, let in by the root."""
    keys = KeyPair.generate(Suite.ED25519_X25519)
    now = int(time.time())
    chain = issue_writecap(
        machine.root.signer,
        Chain(),
        subject=keys.public.principal,
        path=machine.domain.hosts_path,
        scope=bytes(16),
        rights=Rights.EXECUTE,
        not_before=now - 60,
        not_after=now + DAY,
        may_delegate=False,
        serial=secrets.token_bytes(16),
    )
    return Identity(signer=keys, opener=keys, chains=(chain,))


def revoke(machine: Machine, store: Store, who: Identity, *, delay: int = 0) -> RevokedAccess:
    now = int(time.time())
    return revoke_access(
        store,
        machine.identity,
        machine.domain.root,
        principals={who.principal: now + delay},
        serials={},
        now=now,
        random=secrets.token_bytes,
    )


def link_of(machine: Machine, who: Identity) -> BlockingLink:
    domain = machine.domain
    return connect(endpoint(machine), who, root=domain.root, server=domain.server_path)


def test_an_open_link_ends_with_the_reason_before_the_revoker_has_its_answer(machine: Machine) -> None:
    process = machine.start()
    bob = member(machine)
    link = link_of(machine, bob)
    store = store_at(endpoint(machine), machine.identity, machine.domain.server_path)
    asked = store_at(endpoint(machine), bob, machine.domain.server_path)
    asked.status()
    revoke(machine, store, bob)
    with pytest.raises(BttpError, match="was revoked on"):
        link.call(machine.domain.server_path.child("store"), b"", timeout=10)
    with pytest.raises(BlocktreeError, match="was revoked on") as refused:
        asked.status()
    assert refused.value.kind is Kind.FORBIDDEN
    store.status()  # the revoker's own link goes on
    for client in (store, asked, link):
        client.close()
    code, err = machine.stop(process)
    assert code == 0
    assert "revocation list 1: 1 principals, 0 writecaps" in err


def test_a_revocation_that_is_to_come_waits_for_its_moment(machine: Machine) -> None:
    process = machine.start()
    bob = member(machine)
    store = store_at(endpoint(machine), machine.identity, machine.domain.server_path)
    revoke(machine, store, bob, delay=3600)
    link = link_of(machine, bob)
    assert link.call(machine.domain.server_path.child("store"), b"", timeout=10) is not None
    link.close()
    store.close()
    assert machine.stop(process)[0] == 0


def test_a_restarted_server_still_refuses(machine: Machine) -> None:
    process = machine.start()
    bob = member(machine)
    store = store_at(endpoint(machine), machine.identity, machine.domain.server_path)
    revoke(machine, store, bob)
    store.close()
    assert machine.stop(process)[0] == 0
    again = machine.start()
    with pytest.raises(BttpError, match="was revoked on"):
        link_of(machine, bob)
    assert machine.stop(again)[0] == 0


def test_over_a_store_from_before_it_goes_on_with_the_list_it_knows_and_says_so(
    machine: Machine, tmp_path: Path
) -> None:
    directory, bob = machine.domain.store, member(machine)
    assert directory is not None
    shutil.copytree(directory, tmp_path / "before")
    process = machine.start()
    store = store_at(endpoint(machine), machine.identity, machine.domain.server_path)
    revoke(machine, store, bob)
    store.close()
    assert machine.stop(process)[0] == 0
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "before", directory)
    machine.domain.pins.unlink()  # else the store as a whole would be refused
    again = machine.start()
    with pytest.raises(BttpError, match="was revoked on"):
        link_of(machine, bob)
    code, err = machine.stop(again)
    assert code == 0
    assert "the revocation list in the store is refused, the one known counts" in err


def test_without_a_list_that_can_be_believed_for_too_long_it_serves_nobody_but_its_own_machine(
    machine: Machine, tmp_path: Path
) -> None:
    directory, bob, carol = machine.domain.store, member(machine), member(machine)
    assert directory is not None
    shutil.copytree(directory, tmp_path / "before")
    process = machine.start()
    store = store_at(endpoint(machine), machine.identity, machine.domain.server_path)
    revoke(machine, store, bob)
    store.close()
    assert machine.stop(process)[0] == 0
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "before", directory)  # a store that hides it
    machine.domain.pins.unlink()  # else the store as a whole would be refused
    remembered = memory_of(machine.domain).load()
    assert remembered is not None
    memory_of(machine.domain).save(msgspec.structs.replace(remembered, confirmed=int(time.time()) - 3 * 3600))
    (tmp_path / "btfsd.toml").write_text("[revocation]\nwarn_hours = 1\nrefuse_hours = 2\n")
    again = machine.start("--config", str(tmp_path / "btfsd.toml"))
    with pytest.raises(BttpError, match=r"last heard 3 hours ago: .*2 hours are the limit"):
        link_of(machine, carol)
    store_at(endpoint(machine), machine.identity, machine.domain.server_path).close()
    assert machine.stop(again)[0] == 0


class TestStaleness:
    """A thin client whose server does not show it the list."""

    @pytest.fixture
    def thin(self, machine: Machine, tmp_path: Path) -> Machine:
        (tmp_path / "btfsd.toml").write_text("[services]\nstore = false\n")
        machine.start("--config", str(tmp_path / "btfsd.toml"))
        return machine

    def heard(self, machine: Machine, days: float) -> None:
        confirmed = int(time.time() - days * DAY)
        remembered = Remembered(root=machine.domain.root.digest, seen=NOTHING_SEEN, confirmed=confirmed)
        memory_of(machine.domain)._path.unlink(missing_ok=True)
        memory_of(machine.domain).save(remembered)

    def open(self, machine: Machine, staleness: Staleness = Staleness()) -> None:  # noqa: B008
        server = endpoint(machine)
        open_thin(
            machine.domain, machine.identity, machine.domain.root_path, server=server, staleness=staleness
        ).shutdown()

    def test_warns_and_then_refuses(self, thin: Machine, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "btfproto.opening"):
            self.heard(thin, 0.5)
            self.open(thin)
            assert not caplog.messages
            self.heard(thin, 2)
            self.open(thin)
        assert "last heard 2 days ago" in caplog.text
        self.heard(thin, 31)
        with pytest.raises(FsError, match=r"last heard 31 days ago: .*more than 30 are not allowed") as refused:
            self.open(thin)
        assert refused.value.kind is Kind.EXPIRED
        assert "services.store" in str(refused.value)

    def test_both_bounds_can_be_set(self, thin: Machine, caplog: pytest.LogCaptureFixture) -> None:
        self.heard(thin, 31)
        self.open(thin, Staleness(warn=60 * DAY, refuse=90 * DAY))
        assert not caplog.messages
        with pytest.raises(FsError, match="more than 1 are not allowed"):
            self.open(thin, Staleness(refuse=DAY))
