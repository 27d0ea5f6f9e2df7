"""Counters as Prometheus reads them, the endpoint that gives them, and log lines for programs."""

from __future__ import annotations

import http.client
import logging
import socket

import bttp
import bttp.blocking
import pytest
from anyio.from_thread import start_blocking_portal
from bttp._metrics import answer
from bttp._statistics import BrokerStatistics, LinkStatistics, ServerStatistics
from bttp.metrics import CONTENT_TYPE, prometheus_text, serve_metrics
from bttp.testing._evil import DOMAIN, ECHO, ROOT, WAIT, serving, wait_until
from hypothesis import given
from hypothesis import strategies as st


def test_every_counter_is_a_metric_with_its_help_and_type() -> None:
    server, link, broker = ServerStatistics(links=2), LinkStatistics(calls_sent=17), BrokerStatistics(lost=3)
    lines = prometheus_text(server, link, broker, labels={"server": "nas"}).splitlines()
    assert len(lines) == 3 * sum(len(each.__struct_fields__) for each in (server, link, broker))
    assert 'bttp_link_calls_sent_total{server="nas"} 17' in lines
    assert 'bttp_server_links{server="nas"} 2' in lines
    assert "# TYPE bttp_server_links gauge" in lines
    assert "# TYPE bttp_broker_lost_total counter" in lines
    for place in range(0, len(lines), 3):
        name = lines[place].split()[2]
        assert lines[place].startswith(f"# HELP {name} ")
        assert lines[place + 1].startswith(f"# TYPE {name} ")
        assert lines[place + 2].startswith(f"{name}{{")


def test_no_label_breaks_a_line() -> None:
    text = prometheus_text(ServerStatistics(), labels={"path": 'a"b\\c\nd'})
    assert r'{path="a\"b\\c\nd"}' in text
    assert len(text.splitlines()) == 3 * len(ServerStatistics.__struct_fields__)


def test_traffic_counts_links_that_have_ended() -> None:
    with serving(bttp.Limits()) as server:
        for _ in range(3):
            with bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=ROOT) as link:
                link.call(ECHO, timeout=WAIT)
        with bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=ROOT) as link:
            link.call(ECHO, timeout=WAIT)
            assert server.traffic.calls_received == 4
        wait_until(lambda: server.statistics.links == 0)
        assert server.traffic.calls_received == 4


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"HEAD /metrics?x=1 HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"x" * 4096, b"400"),
    ],
)
def test_a_request_gets_the_page_or_the_reason(head: bytes, status: bytes) -> None:
    response = answer(head, lambda: "page\n")
    assert response.startswith(b"HTTP/1.1 " + status)
    assert (b"\r\n\r\npage\n" in response) == (status == b"200" and head.startswith(b"GET"))


@given(st.binary(max_size=200))
def test_any_head_gets_a_response(head: bytes) -> None:
    assert answer(head, lambda: "").startswith(b"HTTP/1.1 ")


def page(endpoint: str, path: str) -> tuple[int, str | None, bytes]:
    """Status, type and body."""
    client = http.client.HTTPConnection(endpoint, timeout=WAIT)
    try:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, response.headers["Content-Type"], response.read()
    finally:
        client.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_prometheus_finds_the_page(backend: str) -> None:
    with start_blocking_portal(backend) as portal:
        metrics = serve_metrics("127.0.0.1:0", lambda: prometheus_text(ServerStatistics(accepted=5)))
        with portal.wrap_async_context_manager(metrics) as endpoints:
            status, kind, body = page(endpoints[0], "/metrics")
            assert (status, kind) == (200, CONTENT_TYPE)
            assert b"bttp_server_accepted_total 5\n" in body
            assert page(endpoints[0], "/")[0] == 404


def test_threads_serve_the_page_and_clients_that_say_nothing_do_not_stop_it() -> None:
    with bttp.blocking.serve_metrics("127.0.0.1:0", lambda: "page\n") as endpoints:
        host, _, port = endpoints[0].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=WAIT):
            assert page(endpoints[0], "/metrics")[2] == b"page\n"


def test_log_lines_have_fields_for_programs(caplog: pytest.LogCaptureFixture) -> None:
    alice = DOMAIN["alice"]
    with (
        caplog.at_level(logging.INFO, "bttp"),
        serving(bttp.Limits()) as server,
        bttp.blocking.connect(server.endpoints[0], alice, root=ROOT) as link,
        pytest.raises(bttp.RemoteError),
    ):
        link.call(DOMAIN.path.child("nobody"), timeout=WAIT)
    fields = [record.__dict__["fields"] for record in caplog.records if hasattr(record, "fields")]
    begun = next(each for each in fields if each["event"] == "link opened")
    assert (begun["peer"], begun["address"]) == (str(alice.principal), "127.0.0.1")
    refused = next(each for each in fields if each["event"] == "path refused")
    assert refused["peer"] == str(alice.principal)
    assert refused["path"] == str(DOMAIN.path.child("nobody"))
    assert refused["kind"] == "NO_SUCH_TARGET"
