"""What btfsd says of where it can be found, and that clients find it there."""

from __future__ import annotations

import json
import os
import time

import msgspec
import pytest
from btfproto.domain import DomainReader
from btfproto.endpoints import Resolution, publish_record, read_published, read_record, resolve, sign_record
from btfproto.errors import FsError
from btfproto.opening import open_files, open_thin, store_at
from btfproto.store import EmbeddedStore
from btfsd._endpoints import LIFETIME, reachable
from btfsd._settings import Endpoints
from btlib.errors import BlocktreeError
from btlib.home import Domain, DomainSettings, Home
from btlib.paths import BlockPath

from .conftest import Machine


def listening(machine: Machine, *words: str, environ: dict[str, str] | None = None) -> str:
    """Start the daemon: where it listens on TCP."""
    process = machine.begin(*words, environ={"NOTIFY_SOCKET": str(machine.top / "notify"), **(environ or {})})
    status = machine.wait_notice("READY=1", process)
    return status.split("listening on ")[1].split(",")[0].split("\n")[0]


def published(machine: Machine, target: BlockPath) -> Resolution:
    """What the store says, once nobody has it open."""
    assert machine.domain.store is not None
    store = EmbeddedStore(machine.domain.store, program="test")
    records = read_published(DomainReader(store, machine.domain.root), target)
    store.close()
    return resolve(target, records, now=int(time.time()))


def elsewhere(machine: Machine, server: str | None) -> Domain:
    """The same domain on a machine that has no store."""
    before = machine.domain
    home = Home.find({"BLOCKTREE_HOME": str(machine.top / "elsewhere")})
    settings = DomainSettings(root=before.root, host="laptop", server=server, server_path=before.server_path)
    return home.add("home", settings)


def test_it_writes_where_it_listens_for_itself_and_for_the_domain(machine: Machine) -> None:
    tcp = listening(machine, "--listen", "127.0.0.1:0")
    machine.stop(machine.processes[0])
    for path in (machine.domain.server_path.child("fs"), machine.domain.root_path.child("photos")):
        (found,) = published(machine, path).found
        assert found.record.endpoints == (tcp,)
        assert found.record.server == machine.domain.server_path
        assert found.record.expires - found.record.issued == LIFETIME


def test_when_it_starts_again_the_newer_record_takes_the_place_of_the_older(machine: Machine) -> None:
    listening(machine, "--listen", "127.0.0.1:0")
    machine.stop(machine.processes[0])
    (before,) = published(machine, machine.domain.server_path).found
    second = listening(machine, "--listen", "127.0.0.1:0")
    machine.stop(machine.processes[1])
    (after,) = published(machine, machine.domain.server_path).found
    assert after.record.endpoints == (second,)
    assert after.record.issued > before.record.issued


def test_a_server_for_this_machine_alone_has_nothing_to_say(machine: Machine) -> None:
    machine.start()
    machine.stop(machine.processes[0])
    assert published(machine, machine.domain.server_path).found == ()


def test_what_is_configured_is_said_instead(machine: Machine) -> None:
    names = {"BTFSD_ENDPOINTS_NAMES": "nas.example:7464"}
    listening(machine, "--listen", "127.0.0.1:0", environ=names)
    machine.stop(machine.processes[0])
    assert published(machine, machine.domain.server_path).endpoints == ("nas.example:7464",)


def test_it_says_nothing_where_that_is_not_wanted(machine: Machine) -> None:
    listening(machine, "--listen", "127.0.0.1:0", environ={"BTFSD_ENDPOINTS_PUBLISH": "no"})
    machine.stop(machine.processes[0])
    assert published(machine, machine.domain.server_path).found == ()


def test_a_name_that_is_no_endpoint_is_a_warning_and_no_reason_not_to_serve(machine: Machine) -> None:
    listening(machine, "--listen", "127.0.0.1:0", environ={"BTFSD_ENDPOINTS_NAMES": "0.0.0.0:1"})
    code, err = machine.stop(machine.processes[0])
    assert code == 0
    assert "no endpoint record of" in err
    assert "where one listens" in err


def test_where_it_listens_everywhere_it_says_this_machines_addresses() -> None:
    said = reachable(["0.0.0.0:7464", "[::]:7464", "10.1.2.3:5", "unix:/run/x"], Endpoints())
    assert "10.1.2.3:5" in said
    assert not any(place.startswith(("0.0.0.0", "[::]", "unix:")) for place in said)
    assert all(place.endswith((":7464", ":5")) for place in said)
    assert reachable(["0.0.0.0:7464"], Endpoints(publish=False)) == ()


@pytest.mark.parametrize("thin", [False, True], ids=["end-to-end", "thin"])
def test_a_client_finds_a_server_that_moved(machine: Machine, thin: bool) -> None:
    first = listening(machine, "--listen", "127.0.0.1:0")
    domain = elsewhere(machine, first)
    open_files(domain, machine.identity, domain.root_path, remote=True, thin=thin).shutdown()
    # Both run one after the other here, so it learns of the move by being pointed at the new one once.
    machine.stop(machine.processes[0])
    second = listening(machine, "--listen", "127.0.0.1:0")
    open_files(domain, machine.identity, domain.root_path, server=second, thin=thin).shutdown()
    provider = open_files(domain, machine.identity, domain.root_path, remote=True, thin=thin)
    assert provider.readdir(provider.root, 0, 10) == []
    provider.shutdown()
    machine.stop(machine.processes[1])


def test_a_machine_without_a_configured_server_finds_it_by_the_domains_record(machine: Machine) -> None:
    first = listening(machine, "--listen", "127.0.0.1:0")
    known = elsewhere(machine, first)
    open_files(known, machine.identity, known.root_path, remote=True).shutdown()
    settings = DomainSettings(root=known.root, host="laptop")
    bare = Home.find({"BLOCKTREE_HOME": str(machine.top / "elsewhere")}).pending_domain("home", settings)
    assert (bare.data, bare.server) == (known.data, None)
    provider = open_thin(bare, machine.identity, bare.root_path)
    assert provider.readdir(provider.root, 0, 10) == []
    provider.shutdown()
    machine.stop(machine.processes[0])


def test_who_never_saw_a_record_is_told_to_name_a_server(machine: Machine) -> None:
    domain = elsewhere(machine, None)
    with pytest.raises(FsError, match="no server is known"):
        open_files(domain, machine.identity, domain.root_path, remote=True)


def test_it_is_found_by_multicast_dns(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zeroconf", reason="multicast DNS is an extra: pip install btfproto[mdns]")
    tcp = listening(machine, "--listen", "127.0.0.1:0", environ={"BTFSD_ENDPOINTS_MDNS": "yes"})
    domain = elsewhere(machine, None)
    monkeypatch.setenv("BLOCKTREE_MDNS", "1")
    provider = open_thin(domain, machine.identity, domain.root_path)
    assert provider.readdir(provider.root, 0, 10) == []
    provider.shutdown()
    _, err = machine.stop(machine.processes[0])
    assert "found by multicast DNS" in err
    assert tcp in err


def test_another_program_publishes_over_a_link_and_the_server_checks_it(machine: Machine) -> None:
    listening(machine, "--listen", "127.0.0.1:0")
    app = machine.domain.host_path.child("app")
    now = int(time.time())
    record = sign_record(machine.identity, path=app, server=app, endpoints=["nas:1"], now=now, lifetime=60)
    forged = msgspec.structs.replace(record, signature=bytes(len(record.signature)))
    store = store_at(str(machine.held_by["endpoint"]), machine.identity, machine.domain.server_path)
    reader = DomainReader(store, machine.domain.root)
    with pytest.raises(BlocktreeError, match="is not signed by"):
        publish_record(reader, machine.identity, app, lambda _: forged, server=app, now=now, random=os.urandom)
    publish_record(reader, machine.identity, app, lambda _: record, server=app, now=now, random=os.urandom)
    store.close()
    machine.stop(machine.processes[0])
    (found,) = published(machine, app.child("news")).found
    assert (found.record.server, found.record.endpoints) == (app, ("nas:1",))


def test_a_record_is_written_with_the_machines_own_keys(machine: Machine) -> None:
    listening(machine, "--listen", "127.0.0.1:0")
    store = store_at(str(machine.held_by["endpoint"]), machine.identity, machine.domain.server_path)
    records = read_published(DomainReader(store, machine.domain.root), machine.domain.server_path)
    store.close()
    _, err = machine.stop(machine.processes[0])
    (signed,) = records[machine.domain.server_path]
    assert signed.signer.principal == machine.identity.principal
    assert read_record(signed).server == machine.domain.server_path
    assert json.dumps(str(machine.domain.server_path))[1:-1] in err
