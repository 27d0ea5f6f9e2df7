"""Where a client dials: what it was told, what is configured, what it remembers, and who calls in the network."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from btfproto import _places
from btfproto._places import Places, book_of, places_of
from btfproto.endpoints import sign_record
from btfproto.errors import FsError
from btfproto.testing.domains import DAY, World
from btlib.home import Domain, DomainSettings, Home
from btlib.kinds import Kind
from btlib.paths import BlockPath
from bttp import AuthenticationError, UnreachableError

BEGAN = int(time.time()) - 40 * DAY
WORLD = World.make(now=BEGAN)
SERVER = WORLD.path("hosts", "nas", "btfsd")


class Link:
    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def close(self) -> None:
        pass


def down(endpoint: str, timeout: float) -> Link:
    raise UnreachableError("Connection refused")


def domain_at(place: Path, *, server: str | None = None, server_path: BlockPath | None = SERVER) -> Domain:
    settings = DomainSettings(root=WORLD.root.principal, host="laptop", server=server, server_path=server_path)
    return Home.find({"BLOCKTREE_HOME": str(place)}).add("home", settings)


def places(domain: Domain, named: str | None = None, **environ: str) -> Places:
    return places_of(domain, named, None, environ)


def remember(
    domain: Domain, endpoint: str, *, path: BlockPath = SERVER, server: BlockPath = SERVER, ago: int = 0
) -> None:
    now = int(time.time()) - ago
    record = sign_record(WORLD.machine, path=path, server=server, endpoints=[endpoint], now=now, lifetime=DAY)
    assert book_of(domain).learn([(path, record)], now=now)


def test_what_is_configured_comes_first_and_then_what_is_remembered(tmp_path: Path) -> None:
    domain = domain_at(tmp_path, server="configured:1")
    remember(domain, "remembered:1")
    assert places(domain).endpoints() == ("configured:1", "remembered:1")
    assert str(places(domain)) == "configured:1, remembered:1"


def test_an_endpoint_that_was_named_is_the_only_one(tmp_path: Path) -> None:
    domain = domain_at(tmp_path, server="configured:1")
    remember(domain, "remembered:1")
    named = places(domain, "named:1", BLOCKTREE_MDNS="1")
    assert (named.endpoints(), named.serving(SERVER), named.mdns) == (("named:1",), ("named:1",), False)


def test_records_of_another_server_do_not_stand_in_for_the_configured_one(tmp_path: Path) -> None:
    domain = domain_at(tmp_path, server="configured:1")
    remember(domain, "other:1", path=WORLD.path(), server=WORLD.path("hosts", "other", "btfsd"))
    assert places(domain).endpoints() == ("configured:1",)
    assert places(domain).serving(WORLD.path("hosts", "other", "app")) == ("other:1", "configured:1")


def test_without_any_configuration_the_domains_record_names_the_server(tmp_path: Path) -> None:
    domain = domain_at(tmp_path, server_path=None)
    remember(domain, "remembered:1", path=WORLD.path())
    assert places(domain).server_path == SERVER
    assert places(domain).require().endpoints() == ("remembered:1",)


def test_where_nothing_is_known_the_refused_record_and_the_way_out_are_named(tmp_path: Path) -> None:
    domain = domain_at(tmp_path)
    with pytest.raises(FsError, match="no server is known") as caught:
        places(domain).require()
    assert "--server HOST:PORT" in (caught.value.hint or "")
    remember(domain, "old:1", ago=10 * DAY)
    with pytest.raises(FsError, match="expired 9 days ago"):
        places(domain).require()


def test_a_dead_server_and_an_expired_record_are_both_said(tmp_path: Path) -> None:
    domain = domain_at(tmp_path, server="configured:1")
    remember(domain, "old:1", ago=10 * DAY)
    with pytest.raises(UnreachableError, match=r"Connection refused; the endpoint record of .* expired 9 days ago"):
        places(domain).dial(down, 5.0)


def test_the_local_network_is_asked_last_and_only_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_places, "discover", lambda root: ("configured:1", "heard:1"))
    domain = domain_at(tmp_path, server="configured:1")

    def dial(endpoint: str, timeout: float) -> Link:
        return Link(endpoint) if endpoint == "heard:1" else down(endpoint, timeout)

    assert places(domain, BLOCKTREE_MDNS="1").dial(dial, 5.0).endpoint == "heard:1"
    for environ in ({}, {"BLOCKTREE_MDNS": "0"}):
        with pytest.raises(UnreachableError, match="refused"):
            places(domain, **environ).dial(dial, 5.0)


def test_a_server_that_refuses_is_not_looked_for_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_places, "discover", lambda root: pytest.fail("nobody else is asked"))

    def refused(endpoint: str, timeout: float) -> Link:
        raise AuthenticationError("not you", kind=Kind.FORBIDDEN)

    with pytest.raises(AuthenticationError, match="not you"):
        places(domain_at(tmp_path, server="configured:1"), BLOCKTREE_MDNS="1").dial(refused, 5.0)


def test_without_the_library_for_the_local_network_the_first_error_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(root: object) -> tuple[str, ...]:
        raise FsError(Kind.NOT_SUPPORTED, "multicast DNS needs the package zeroconf")

    monkeypatch.setattr(_places, "discover", missing)
    with pytest.raises(UnreachableError, match="Connection refused"):
        places(domain_at(tmp_path, server="configured:1"), BLOCKTREE_MDNS="1").dial(down, 5.0)
    assert "zeroconf" in caplog.text


def test_a_damaged_book_is_a_warning_and_the_configured_server_is_dialed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    domain = domain_at(tmp_path, server="configured:1")
    domain.data.mkdir(parents=True, exist_ok=True)
    (domain.data / "endpoints").write_bytes(b"junk")
    assert places(domain).endpoints() == ("configured:1",)
    assert "rm " in caplog.text
