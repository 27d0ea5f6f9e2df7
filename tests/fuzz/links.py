"""Targets of bttp: what comes before a link is open, frames, fields, proofs, and the core itself."""

from __future__ import annotations

from btlib.testing import make_domain_identities
from bttp import BttpError, Limits, RemoteProtocolError
from bttp._auth import Role, prove, transcript, verify
from bttp._certificates import EphemeralKeys
from bttp._core import LinkCore
from bttp._endpoints import parse_endpoint
from bttp._events import CallReceived, PeerProven, SendReceived
from bttp._fields import encode_fields, parse_extended, parse_fields
from bttp._frames import (
    FrameKind,
    FrameReader,
    Hello,
    frame,
    hello_frame,
    parse_hello,
    parse_text,
    parse_u32,
)
from bttp._preface import MAX_CERTIFICATE, preface, read_preface, read_refusal
from bttp._states import State, Step
from bttp._topics import encode_losses, encode_message, parse_item, parse_wish
from bttp._trace import TraceParent
from bttp.dissector import Dissector

from .target import target

DOMAIN = make_domain_identities("server", "alice")
CERTIFICATES = (b"the client's certificate", b"the server's certificate")
SIGNED = transcript(*CERTIFICATES)
LIMITS = Limits(max_body=1 << 20, max_calls=8)
KEYS = EphemeralKeys()
HELD = 4 << 20  #: bytes that a core may hold for a peer that sent a few kilobytes: its limits, and some

HELLO = Hello(
    version=1, auths=1, max_calls=8, max_body=1 << 20, send_window=4096, stream_window=4096, link_window=1 << 16
)


@target("preface", "prefaces", refuses=RemoteProtocolError)
def read_prefaces(data: bytes) -> None:
    found = read_preface(data)
    if found is None:
        assert len(data) < 8 + MAX_CERTIFICATE, "it waits for more than there can be"
        return
    certificate, used = found
    assert preface(certificate) == data[:used]


@target("refusal", "refusals in the clear", refuses=())
def refusal(data: bytes) -> None:
    found = read_refusal(data)
    assert found is None or found[1].isprintable()


@target("auth", "proofs of principals", refuses=BttpError)
def auth(data: bytes) -> None:
    proof = verify(data, Role.CLIENT, SIGNED)
    assert proof.public.principal == DOMAIN["alice"].principal, "somebody was proven whose keys nobody has"


@target("frames", "frames, whole and in pieces", refuses=RemoteProtocolError)
def frames(data: bytes) -> None:
    size, body = (data[0] if data else 0) % 61 + 1, data[1:]
    pieces = _cut(body[i : i + size] for i in range(0, len(body), size))
    assert pieces == _cut([body]), "frames depend on how their bytes come"


def _cut(pieces: object) -> list[tuple[int, int, bytes]]:
    reader = FrameReader(lambda _stream, _length: None)
    out = []
    for piece in pieces:  # type: ignore[attr-defined]
        while piece:
            space = reader.space()
            count = min(len(space), len(piece))
            space[:count] = piece[:count]
            reader.filled(count)
            piece = piece[count:]
            out += [(kind, stream, bytes(reader.buffer[a:b])) for kind, stream, a, b in reader.frames()]
    return out


@target("fields", "fields beside bodies", refuses=RemoteProtocolError)
def fields(data: bytes) -> None:
    found = parse_fields(data)
    again = encode_fields(found.key, found.trace, found.repeat)
    assert parse_fields(again) == found


@target("extended", "frames with fields", refuses=RemoteProtocolError)
def extended(data: bytes) -> None:
    kind, _, begin = parse_extended(bytearray(data), 0, len(data))
    assert kind in FrameKind._value2member_map_
    assert begin <= len(data)


@target("hello", "greetings", refuses=RemoteProtocolError)
def hello(data: bytes) -> None:
    assert hello_frame(parse_hello(data))[8:] == data


@target("words-of-errors", "texts and amounts in frames", refuses=RemoteProtocolError)
def words(data: bytes) -> None:
    assert parse_text(data)[1].isprintable()
    parse_u32(data)


@target("traceparent", "trace contexts", refuses=())
def traceparent(data: bytes) -> None:
    found = TraceParent.parse(data.decode(errors="replace"))
    assert found is None or TraceParent.parse(str(found)) == found


@target("wish", "subscriptions", refuses=BttpError)
def wish(data: bytes) -> None:
    assert parse_wish(data).queue > 0


@target("topic-item", "messages of brokers", refuses=RemoteProtocolError)
def item(data: bytes) -> None:
    found = parse_item(memoryview(data))
    if isinstance(found, int):
        assert encode_losses(found) == data
    else:
        assert encode_message(found.topic, found.body) == data


@target("endpoint", "texts of endpoints", refuses=BttpError)
def endpoint(data: bytes) -> None:
    parse_endpoint(data.decode(errors="surrogateescape"))


@target("dissector", "frames in words", refuses=RemoteProtocolError)
def dissector(data: bytes) -> None:
    assert all(line for line in Dissector().feed(data))


@target("link-preface", "what a server hears before TLS", refuses=())
def link_preface(data: bytes) -> None:
    _bounded(_fed(LinkCore(Role.SERVER, KEYS, [DOMAIN["server"]], LIMITS, now=0.0), data))


@target("link-answer", "what a client hears instead of TLS", refuses=())
def link_answer(data: bytes) -> None:
    core = LinkCore(Role.CLIENT, KEYS, [DOMAIN["alice"]], LIMITS, now=0.0)
    core.data_to_send()
    _bounded(_fed(core, data))


@target("link-opening", "what a server hears before it knows the peer (without TLS)", refuses=())
def link_opening(data: bytes) -> None:
    core = _fed(_clear_core(), data)
    assert not core.peer.proofs or PROOF[-64:] in data, "a peer is somebody whose signature did not come"
    _bounded(core)


@target("link-core", "what an open link hears (without TLS)", refuses=())
def link_core(data: bytes) -> None:
    core = _fed(_clear_core(), HELLO_AND_PROOF)
    assert core.state is State.OPEN
    _bounded(_fed(core, data))


PROOF = prove(DOMAIN["alice"], Role.CLIENT, SIGNED)
HELLO_AND_PROOF = hello_frame(HELLO) + frame(FrameKind.AUTH, 0, PROOF)


class ClearPump:
    """What stands between a core and the network, without TLS: that is OpenSSL's to fuzz, and never twice the same."""

    def __init__(self) -> None:
        self._data = b""
        self._out = b""
        self.ended = False
        self.peer_certificate = CERTIFICATES[0]

    def feed(self, data: bytes) -> None:
        self._data += data

    def read_into(self, space: memoryview) -> int:
        count = min(len(space), len(self._data))
        space[:count], self._data = self._data[:count], self._data[count:]
        return count

    def write(self, plaintext: bytes) -> None:
        self._out += plaintext

    def take(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def finish(self) -> None:
        pass


class ClearKeys(EphemeralKeys):
    """Ephemeral keys of which only the certificate matters."""

    certificate = CERTIFICATES[1]

    def __init__(self) -> None:
        pass


def _clear_core() -> LinkCore:
    """A server's core after the TLS handshake."""
    core = LinkCore(Role.SERVER, ClearKeys(), [DOMAIN["server"]], LIMITS, now=0.0)
    core._tls = ClearPump()  # type: ignore[assignment]
    core._move(Step.PREFACE_READ)
    core._move(Step.TLS_DONE)
    core._introduction.bind(CERTIFICATES[0])
    return core


def _fed(core: LinkCore, data: bytes) -> LinkCore:
    """Let a core hear these bytes, cut as their first one says, and be answered as a shell would."""
    size = len(data) // 3 + 1
    for start in range(0, len(data), size):
        core.receive_data(data[start : start + size], 0.0)
        while (event := core.next_event()) is not None:
            if isinstance(event, PeerProven) and core.state is State.DECISION:  # what came behind it may have ended it
                core.admit()
            elif isinstance(event, CallReceived):
                core.reply(event.number, b"answer")
            elif isinstance(event, SendReceived):
                core.consumed(event.cost)
        while core.data_to_send():
            pass
    core.handle_timeout(1.0)
    return core


def _bounded(core: LinkCore) -> None:
    assert core.held <= HELD, f"{core.held} bytes are held for this peer"
    core.abort(BttpError("the network failed"))
    while core.next_event() is not None:
        pass
    assert core.state is State.CLOSED
