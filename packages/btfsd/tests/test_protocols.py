"""The declared protocols: complete, and what real clients and services say to each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from btfproto.errors import FsError, StoreError
from btfproto.messages import (
    Failed,
    decode_fs_call,
    decode_fs_reply,
    decode_store_reply,
    decode_store_request,
    files,
    stores,
)
from btfproto.opening import open_end_to_end, open_thin
from btfproto.provider import Owner
from btfproto.remote import FsServer
from btfproto.store.remote import StoreServer
from btfproto.testing.provider import FS_CHECKS, write_file
from btfsd.protocols import Blocks, Files
from btrun.protocol import Protocol
from bttp import Request

from .conftest import Machine
from .test_runtime import served_by

Pairs = set[tuple[type, type]]


def sent_by(protocol: type[Protocol], role: str) -> set[type]:
    return {step.message for row, step in protocol.tables[role].steps() if step.message in row.sends}


@pytest.mark.parametrize(
    ("protocol", "requests", "replies"),
    [(Files, files.FsRequest, files.FsReply), (Blocks, stores.StoreRequest, stores.StoreReply)],
    ids=["files", "blocks"],
)
def test_every_message_of_the_wire_is_declared(protocol: type[Protocol], requests: object, replies: object) -> None:
    assert sent_by(protocol, "client") == set(get_args(requests))
    assert sent_by(protocol, "server") == set(get_args(replies))


def allowed(protocol: type[Protocol]) -> Pairs:
    """Which answers the declaration lets follow which requests."""
    return {
        (step.message, answer)
        for row, step in protocol.tables["server"].steps()
        if step.message in row.receives
        for answer in step.then.sends
    }


def reply_of(decode: Callable[[bytes], Any], parts: list[bytes | memoryview]) -> type:
    try:
        return type(decode(b"".join(parts)))
    except (FsError, StoreError):
        return Failed


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> tuple[Pairs, Pairs]:
    """What is said at the two services from now on."""
    at_files: Pairs = set()
    at_store: Pairs = set()
    handle, changes, store, watch = FsServer.handle, FsServer.changes, StoreServer.handle, StoreServer.watch

    def note_files(request: Request, parts: Any) -> Any:
        at_files.add((type(decode_fs_call(request.body).request), reply_of(decode_fs_reply, parts)))
        return parts

    def note_store(request: Request, parts: Any) -> Any:
        reply = reply_of(lambda body: decode_store_reply(body, msgspec.Struct), parts)
        at_store.add((type(decode_store_request(request.body)), reply))
        return parts

    async def heard_handle(self: FsServer, request: Request) -> Any:
        return note_files(request, await handle(self, request))

    async def heard_changes(self: FsServer, request: Request) -> Any:
        return note_files(request, await changes(self, request))

    async def heard_watch(self: StoreServer, request: Request) -> Any:
        return note_store(request, await watch(self, request))

    monkeypatch.setattr(FsServer, "handle", heard_handle)
    monkeypatch.setattr(FsServer, "changes", heard_changes)
    monkeypatch.setattr(StoreServer, "handle", lambda self, request: note_store(request, store(self, request)))
    monkeypatch.setattr(StoreServer, "watch", heard_watch)
    return at_files, at_store


def test_what_clients_and_services_say_is_what_is_declared(machine: Machine, heard: tuple[Pairs, Pairs]) -> None:
    at_files, at_store = heard
    root = machine.domain.root_path
    with served_by(machine) as served:
        where = served.server.endpoints[0]
        top = open_thin(machine.domain, machine.identity, root, server=where)
        for number, check in enumerate(FS_CHECKS):
            top.mkdir(top.root, f"check-{number}", 0o755, Owner(0, 0))
            path = root.child(f"check-{number}")
            provider = open_thin(machine.domain, machine.identity, path, server=where)
            check(provider)
            provider.shutdown()
        top.sync()
        keys_here = open_end_to_end(machine.domain, machine.identity, root, server=where)
        write_file(keys_here, keys_here.root, "large", bytes(100_000))
        keys_here.sync()
        keys_here.shutdown()
        top.shutdown()
    assert at_files <= allowed(Files)
    assert at_store <= allowed(Blocks)
    # Nearly all; which requests a client can do without is its own affair.
    assert len({request for request, _ in at_files}) > 0.8 * len(sent_by(Files, "client"))
    assert {request for request, _ in at_store} >= {stores.ReadHeads, stores.DoCommit, stores.DoLease, stores.Watch}
