"""Seeds for what has no vectors: as our own writers write it, and some texts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from blocktree import enrolment
from btfproto._revocation_memory import Remembered
from btfproto.domain import NOTHING_SEEN
from btfproto.messages import encode_store_request, stores
from btfproto.store import Commit, CommitAnswer, MemoryStore
from btfproto.store._segment_format import RunHeader, encode_run_header
from btfproto.testing.domains import NOW, World
from btfuse._protocol import (
    CREATE_IN,
    FALLOCATE_IN,
    GETXATTR_IN,
    IN_HEADER,
    INIT_IN,
    LOCK_IN,
    MKDIR_IN,
    READ_IN,
    RENAME2_IN,
    SETATTR_IN,
    SETXATTR_IN,
    WRITE_IN,
    Opcode,
)
from btlib.agent import _messages as agent
from btlib.agent._times import Times
from btlib.credentials import Credentials, PassphraseCost
from btlib.credentials._format import seal_credentials
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.public_keys import Suite
from btlib.testing import make_domain_identities, make_keys
from btrun import _inspection_wire as inspection
from btrun import _wire as actors
from btrun.protocol._versions import Versions
from btrun.protocol._wire import pack, pack_close
from btrun.reasons import Stopped
from btserde import encode

from . import pairings
from .links import HELLO_AND_PROOF

Seed = tuple[str, str, bytes]
DOMAIN = make_domain_identities("alice")
ALICE = DOMAIN["alice"]


def made() -> Iterator[Seed]:
    """All of them."""
    yield from _credentials()
    yield from _agent()
    yield from _store()
    yield from _actors()
    yield from _kernel()
    yield from _texts()
    yield from pairings.made()
    with contextlib.suppress(BlocktreeError):  # without the library of chips
        from .chips import made as made_of_chips

        yield from made_of_chips()
    yield "link-opening", "hello-and-proof", HELLO_AND_PROOF
    yield "link-preface", "http", b"GET / HTTP/1.1\r\n\r\n"
    yield "link-answer", "refusal", b"BTNO\x07\x04busy"
    yield "link-answer", "alert", bytes.fromhex("15030100020228")
    yield "traceparent", "plain", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for name, text in (("tcp", "nas.example:7464"), ("v6", "[::1]:7464"), ("unix", "unix:/run/bt.sock")):
        yield "endpoint", name, text.encode()


def _credentials() -> Iterator[Seed]:
    credentials = Credentials(suite=Suite.ED25519_X25519, seed=bytes(32), chains=ALICE.chains)
    yield "credentials", "with-a-chain", encode(credentials)
    cost = PassphraseCost(memory_kib=8, iterations=1, lanes=1)
    yield "credential-file", "made", seal_credentials(credentials, "words", cost, salt=bytes(16), nonce=bytes(12))


def _agent() -> Iterator[Seed]:
    who = ALICE.principal
    requests: list[agent.Request] = [
        agent.GetStatus(), agent.Unlock("home", "words"), agent.Identify(who), agent.Sign(who, b"label", b"message"),
        agent.Open(who, b"label", b"info", b"sealed"), agent.Lock(), agent.Stop(),
    ]  # fmt: skip
    for request in requests:
        yield "agent-request", type(request).__name__.lower(), agent.encode_request(request)
    status = agent.Status(pid=1, times=Times(), held=[agent.Held("home", who)], left=60, memory_locked=True)
    replies: list[agent.Reply] = [
        agent.Failed(kind=int(Kind.INVALID), message="no", hint="yes"), status,
        agent.Identified(ALICE.public, list(ALICE.chains)), agent.Signed(b"s"), agent.Opened(b"p"), agent.Done(),
    ]  # fmt: skip
    for reply in replies:
        yield "agent-reply", type(reply).__name__.lower(), agent.encode_reply(reply)


def _store() -> Iterator[Seed]:
    class Recording(MemoryStore):
        def commit(self, commit: Commit) -> CommitAnswer:
            commits.append(commit)
            return super().commit(commit)

    commits: list[Commit] = []
    World.make(Recording())
    for number, commit in enumerate(commits):
        body = b"".join(encode_store_request(stores.DoCommit(commit=commit)))
        yield "commit", f"creation-{number}", body
        yield "store-request", f"creation-{number}", body
    remembered = Remembered(root=ALICE.principal.digest, seen=NOTHING_SEEN, confirmed=NOW)
    yield "revocation-memory", "nothing-seen", encode(remembered)
    run = encode_run_header(RunHeader(0, bytes(16), 1, 0, 3, 4, 2))
    yield "segment", "two-runs", (run + bytes(10)) * 2


def _actors() -> Iterator[Seed]:
    for verb in actors.Verb:
        request = actors.Request(verb=verb, name="Deposit", schema=7, chain=("a",), body=memoryview(b"body"))
        yield "actor-request", verb.name.lower(), actors.encode_request(request)
    yield "actor-reply", "answered", actors.encode_reply(actors.Answered(memoryview(b"body")))
    yield "actor-reply", "failed", actors.encode_reply(actors.Failed(1, 2, "no"))
    yield "actor-published", "one", encode(actors.Published("News", 7, memoryview(b"body")))
    yield "actor-ended", "stopped", actors.encode_ended(actors.Ended(Stopped(), False, 0))
    yield "inspection", "look", b"\0" + inspection.encode_request(inspection.Look())
    yield "inspection", "follow", b"\2" + inspection.encode_follow(inspection.Follow())
    handled = inspection.Handled(path="a", message="M", seconds=0.5, error=None)
    yield "inspection", "handled", b"\3" + inspection.encode_handled(handled)
    yield "protocol-packet", "versions", pack(Versions(fingerprints=(1, 2)))
    yield "protocol-packet", "closed", pack_close(Kind.FORBIDDEN, "no")


def _request(opcode: int, body: bytes, node: int = 1) -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, 2, node, 1000, 1000, 77, 0, 0) + body


def _kernel() -> Iterator[Seed]:
    init = _request(Opcode.INIT, INIT_IN.pack(7, 45, 131072, 0xFFFFFFFF) + bytes(48), 0)
    create = _request(Opcode.CREATE, CREATE_IN.pack(2, 0o100644, 0, 0) + b"file\0")
    bodies: dict[str, tuple[int, bytes, int]] = {
        "lookup": (Opcode.LOOKUP, b"file\0", 1),
        "getattr": (Opcode.GETATTR, bytes(16), 1),
        "setattr": (Opcode.SETATTR, SETATTR_IN.pack(8, 0, 0, 100, *[0] * 12), 2),
        "mkdir": (Opcode.MKDIR, MKDIR_IN.pack(0o755, 0) + b"directory\0", 1),
        "rename": (Opcode.RENAME2, RENAME2_IN.pack(1, 0, 0) + b"file\0other\0", 1),
        "symlink": (Opcode.SYMLINK, b"link\0../../etc\0", 1),
        "read": (Opcode.READ, READ_IN.pack(1, 0, 4096) + bytes(20), 2),
        "write": (Opcode.WRITE, WRITE_IN.pack(1, 0, 5, 0, 0, 0, 0) + b"hello", 2),
        "fallocate": (Opcode.FALLOCATE, FALLOCATE_IN.pack(1, 0, 100, 0, 0), 2),
        "readdirplus": (Opcode.READDIRPLUS, READ_IN.pack(0, 0, 4096) + bytes(20), 1),
        "setxattr": (Opcode.SETXATTR, SETXATTR_IN.pack(3, 0) + b"user.a\0abc", 2),
        "getxattr": (Opcode.GETXATTR, GETXATTR_IN.pack(0, 0) + b"user.a\0", 2),
        "setlk": (Opcode.SETLK, LOCK_IN.pack(1, 7, 0, 10, 1, 77, 0, 0), 2),
        "unlink": (Opcode.UNLINK, b"file\0", 1),
        "batch-forget": (Opcode.BATCH_FORGET, bytes((1, 0, 0, 0, 0, 0, 0, 0)) + bytes(16), 0),
    }
    for name, (opcode, body, node) in bodies.items():
        yield "fuse-request", name, init + create + _request(opcode, body, node)


def _texts() -> Iterator[Seed]:
    root = str(ALICE.principal)
    settings = f'format = 1\nroot = "{root}"\nhost = "nas"\nstore = "store"\nserver = "nas.example:7464"\n'
    yield "domain-file", "plain", settings.encode()
    yield "server-file", "plain", b'domain = "home"\nlisten = ["127.0.0.1:7464", "unix:/run/btfsd.sock"]\n'
    yield "server-environment", "plain", b"DOMAIN=home\nLISTEN=127.0.0.1:7464, unix:/run/btfsd.sock"
    yield "passphrase-file", "plain", "Übung macht den Meister\r\nmore".encode()
    yield "enroll-request", "plain", enrolment.make_request(make_keys("alice"), "nas", NOW).encode()
    terms = enrolment.ResponseTerms(
        subject=ALICE.principal, host="nas", root=DOMAIN.root.public, chains=ALICE.chains, server="nas:7464",
        server_path=str(DOMAIN.path.child("btfsd")), issued=NOW,
    )  # fmt: skip
    yield "enroll-response", "plain", enrolment.make_response(DOMAIN.root.signer, terms).encode()
    for number, text in enumerate(("2027-01-02", "30d", "12h", "2027-01-02T03:04:05", "never")):
        yield "dates", str(number), text.encode()
    options = "ro,allow_other,server,thin,commit=5,passphrase_file=/etc/x,x-systemd.automount"
    yield "mount-options", "plain", options.encode()
    yield "mount-tables", "mountinfo", b"36 35 0:42 / /mnt rw,nosuid - fuse.btfuse home:\\040a rw,user_id=0\n"
    yield "mount-tables", "mounts", b"btfuse /mnt fuse.btfuse rw,nosuid 0 0\n"
    yield "lock-file", "plain", b'{"pid":1,"program":"btfsd","endpoint":"unix:/x"}'
