"""Packets: round trips, and everything that an evil peer can put in one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import btserde
import pytest
from btlib import BlocktreeError, Kind, Principal
from btrun.protocol import UnexpectedMessageError, WireChannel
from btrun.protocol._wire import MAX_REASON, Closed, Said, pack, pack_close, unpack
from btrun.protocol.errors import SessionEndedError, VersionError, ViolationError
from btrun.protocol.examples.files import Close, Data, Files, Open, Quit, Read, Write
from btrun.protocol.examples.files_handles import ServerClosed, as_client, as_server
from btrun.protocol.examples.shelf import Shelf
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

Run = Callable[[Callable[[], Any]], None]

ACCEPTS: dict[str, type[Struct]] = {"Open": Open, "Write": Write, "Quit": Quit}


class Pipe:
    """One end of two queues of bytes."""

    def __init__(self, incoming: deque[bytes], outgoing: deque[bytes]) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.closed = False

    async def send(self, packet: bytes) -> None:
        if self.closed:
            raise BlocktreeError("the pipe is closed", kind=Kind.UNREACHABLE)
        self.outgoing.append(packet)

    async def receive(self) -> bytes:
        while not self.incoming:
            await anyio.sleep(0)
        return self.incoming.popleft()

    def close(self, last: bytes) -> None:
        if not self.closed:
            self.outgoing.append(last)
            self.closed = True


def pipes() -> tuple[Pipe, Pipe]:
    forth: deque[bytes] = deque()
    back: deque[bytes] = deque()
    return Pipe(back, forth), Pipe(forth, back)


@given(path=st.text(max_size=20), writing=st.booleans())
def test_a_message_comes_back_as_it_was(path: str, writing: bool) -> None:
    message = Open(path=path, writing=writing)
    assert unpack(pack(message), ACCEPTS) == message
    assert unpack(memoryview(pack(message)), ACCEPTS) == message


def test_a_message_that_is_not_allowed_now_is_named_and_not_decoded() -> None:
    with pytest.raises(UnexpectedMessageError) as error:
        unpack(btserde.encode(Said(label="Data", body=memoryview(b"\xff" * 9)), Said | Closed), ACCEPTS)
    assert (error.value.label, error.value.detail) == ("Data", "")


def test_a_body_that_does_not_decode_is_refused_with_its_label() -> None:
    with pytest.raises(UnexpectedMessageError) as error:
        unpack(btserde.encode(Said(label="Open", body=memoryview(b"\xff")), Said | Closed), ACCEPTS)
    assert error.value.label == "Open"
    assert error.value.detail.startswith("which does not decode")


def test_every_truncated_packet_is_refused() -> None:
    packet = pack(Write(offset=3, content=b"abc"))
    for length in range(len(packet)):
        with pytest.raises(UnexpectedMessageError):
            unpack(packet[:length], ACCEPTS)
    with pytest.raises(UnexpectedMessageError):
        unpack(packet + b"\0", ACCEPTS)


@given(data=st.data())
def test_a_flipped_bit_gives_another_message_or_a_refusal_and_nothing_else(data: st.DataObject) -> None:
    packet = bytearray(pack(Write(offset=3, content=b"abc")))
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    packet[bit // 8] ^= 1 << bit % 8
    with suppress(UnexpectedMessageError, SessionEndedError):
        assert type(unpack(bytes(packet), ACCEPTS)) in ACCEPTS.values()


@given(packet=st.binary(max_size=60))
def test_any_bytes_give_a_message_or_a_refusal(packet: bytes) -> None:
    with suppress(UnexpectedMessageError, SessionEndedError):
        unpack(packet, ACCEPTS)


def test_the_last_packet_carries_kind_and_reason() -> None:
    with pytest.raises(SessionEndedError, match="the other side ended the session: enough") as error:
        unpack(pack_close(Kind.BUSY, "enough"), ACCEPTS)
    assert error.value.kind == Kind.BUSY
    with pytest.raises(SessionEndedError, match="the other side has closed the channel"):
        unpack(pack_close(None, ""), ACCEPTS)


def test_an_unknown_kind_is_internal_and_a_long_reason_is_cut() -> None:
    packet = btserde.encode(Closed(kind=255, done=False, reason="x" * 5000), Said | Closed)
    with pytest.raises(SessionEndedError) as error:
        unpack(packet, ACCEPTS)
    assert error.value.kind == Kind.INTERNAL
    assert len(error.value.message) < MAX_REASON + 100


def test_a_session_runs_over_bytes(run: Run, alice: Principal, bob: Principal) -> None:
    first, second = pipes()

    async def client() -> None:
        async with as_client(WireChannel(first, bob)) as closed:
            await closed.send(Quit())

    async def server() -> None:
        async with as_server(WireChannel(second, alice)) as closed:
            assert isinstance(await closed.receive(), ServerClosed.Quit)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client)
            tasks.start_soon(server)

    run(main)


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        pytest.param(pack(Data(content=b"")), "sent Data in the state closed, where the client may", id="wrong"),
        pytest.param(b"\xff\xff\xff", "sent a packet in the state closed: which does not decode", id="garbage"),
        pytest.param(b"", "sent a packet in the state closed: which does not decode", id="empty"),
        pytest.param(
            btserde.encode(Said(label="x" * 10_000, body=memoryview(b"")), Said | Closed),
            f"sent {'x' * 20}",
            id="long label",
        ),
    ],
)
def test_an_evil_peer_ends_only_its_own_session_and_is_named(
    run: Run, alice: Principal, packet: bytes, text: str
) -> None:
    evil, end = pipes()

    async def main() -> None:
        with pytest.raises(ViolationError, match=text) as error:
            await serve()
        assert error.value.violation.principal == alice
        assert len(str(error.value)) < 400
        evil.incoming.popleft()  # the server's versions
        with pytest.raises(SessionEndedError, match="ended the session: bt1") as told:
            unpack(evil.incoming.popleft(), {})
        assert told.value.kind == Kind.PROTOCOL

    async def serve() -> None:
        evil.outgoing.append(pack(versions()))
        evil.outgoing.append(packet)
        async with as_server(WireChannel(end, alice)) as closed:
            await closed.receive()

    run(main)


def versions() -> Any:
    from btrun.protocol._versions import Versions

    return Versions(fingerprints=(Files.fingerprint,))


def test_a_peer_that_begins_with_something_else_is_refused(run: Run, alice: Principal) -> None:
    evil, end = pipes()

    async def main() -> None:
        evil.outgoing.append(pack(Quit()))
        with pytest.raises(VersionError, match="began a session of Files with Quit instead of its versions"):
            await as_server(WireChannel(end, alice)).__aenter__()

    run(main)


def test_a_carrier_that_fails_fails_the_step(run: Run, bob: Principal) -> None:
    first, second = pipes()

    async def main() -> None:
        second.outgoing.append(pack(versions()))
        async with as_client(WireChannel(first, bob)) as closed:
            first.closed = True
            with pytest.raises(BlocktreeError, match="the pipe is closed"):
                await closed.send(Quit())

    run(main)


ANY_PACKET = st.one_of(
    st.sampled_from(
        [
            pack(Open(path="/notes", writing=True)),
            pack(Read(offset=0, length=4)),
            pack(Write(offset=0, content=b"x")),
            pack(Close()),
            pack(Quit()),
            pack_close(None, ""),
            pack_close(Kind.BUSY, "enough"),
        ]
    ),
    st.binary(max_size=12),
)


@settings(deadline=None)
@given(packets=st.lists(ANY_PACKET, max_size=12))
def test_whatever_a_peer_sends_the_session_ends_with_its_own_error_and_a_last_word(packets: list[bytes]) -> None:
    evil, end = pipes()
    evil.outgoing.extend([pack(versions()), *packets, pack_close(None, "")])

    async def main() -> None:
        with suppress(ViolationError, SessionEndedError):
            await Shelf({"/notes": b"abc"}).serve(WireChannel(end, Principal(bytes(32))))
        assert end.closed
        last = btserde.decode(evil.incoming[-1], Said | Closed)
        assert isinstance(last, Closed)

    anyio.run(main)
