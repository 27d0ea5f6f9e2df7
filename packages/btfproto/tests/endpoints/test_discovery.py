"""Multicast DNS on the loopback interface, between two real responders."""

from __future__ import annotations

import sys

import pytest
from btfproto.endpoints.discovery import MAX_FOUND, advertise, discover, endpoints_of, service_name
from btfproto.errors import FsError
from btfproto.testing.domains import person
from btlib.kinds import Kind

zeroconf = pytest.importorskip("zeroconf", reason="multicast DNS is an extra: pip install btfproto[mdns]")

ROOT, OTHER = person(1).principal, person(50).principal
LOOPBACK = ["127.0.0.1"]


def test_who_knows_the_root_finds_the_server() -> None:
    with advertise(ROOT, LOOPBACK, 7464):
        assert discover(ROOT, 20.0, interfaces=LOOPBACK) == ("127.0.0.1:7464",)


def test_servers_of_other_domains_are_passed_over() -> None:
    with advertise(OTHER, LOOPBACK, 7464):
        assert discover(ROOT, 0.3, interfaces=LOOPBACK) == ()


def test_the_name_tells_nobody_the_root() -> None:
    with advertise(ROOT, LOOPBACK, 7464) as instance:
        assert instance.startswith(service_name(ROOT))
        assert ROOT.digest.hex()[:16] not in instance
        assert str(ROOT)[:16] not in instance
    assert service_name(ROOT) != service_name(OTHER)


def test_an_answer_without_a_port_is_none() -> None:
    info = zeroconf.ServiceInfo("_bttp._tcp.local.", "x._bttp._tcp.local.", port=0, addresses=[b"\x7f\0\0\1"])
    assert endpoints_of(info) == []
    assert MAX_FOUND > 1


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(FsError, match=r"btfproto\[mdns\]") as caught:
        discover(ROOT)
    assert caught.value.kind is Kind.NOT_SUPPORTED
