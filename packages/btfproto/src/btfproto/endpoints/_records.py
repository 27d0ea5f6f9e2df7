"""Endpoint records: who serves a path, at which addresses, until when. Signed by the machine that serves.

    endpoint record = btserde of { record bytes, PublicKeys, Chain, signature }
    record          = format, path, server, endpoints, issued, expires
    signature       = sign(ENDPOINT, record bytes), by a principal whose chain gives EXECUTE at `path` and at `server`
    block           = derive(ENDPOINTS, text of the path)     a public block that holds up to MAX_SERVERS of them

A record says where to dial, and nothing more: whoever answers there still has to prove `server` when the link opens.
So nobody who kept or carried it is trusted. Pure; the time is an argument. `docs/spec/endpoints.md` has the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from btlib.block import derive_block_id
from btlib.clocks import CLOCK_SKEW
from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.paths import BlockPath
from btlib.public_keys import PublicKeys
from btlib.revocations import NO_REVOCATIONS, Revocations
from btlib.verification import verify_chain
from btlib.writecaps import SERVE, Chain
from btserde import I64, U8, Limits, SerdeError, decode, encode
from bttp import TcpEndpoint, parse_endpoint

from ..errors import FsError

FORMAT = 1
MAX_ENDPOINTS = 16  #: of one server: some addresses of some interfaces, and a name or two
MAX_ENDPOINT_BYTES = 320  #: a host name has at most 253, a Unix socket's path 107
MAX_SERVERS = 16  #: of one path: whoever asks tries them all
MAX_LIFETIME = 30 * 86_400  #: seconds: an address that was given up is tried for no longer than this
SET_LIMITS = Limits(max_depth=8, max_size=4 * 1024 * 1024, max_count=256)

UNUSABLE_HOSTS = frozenset({"0.0.0.0", "::", "*", ""})  #: where one can listen, and nobody can dial


class EndpointRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed."""

    format: U8 = FORMAT
    path: BlockPath  #: what is served: it and all below
    server: BlockPath  #: what the server proves when a link opens
    endpoints: tuple[str, ...]
    issued: I64  #: unix seconds; grows from record to record
    expires: I64  #: unix seconds, inclusive


class SignedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it is kept and carried. It claims; `check_record` says whether it is true."""

    record: bytes
    signer: PublicKeys
    chain: Chain
    signature: bytes


class RecordSet(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the block of a path: the records of its servers."""

    format: U8 = FORMAT
    records: tuple[SignedRecord, ...] = ()


def endpoints_block(path: BlockPath) -> bytes:
    """Where the records of a path lie."""
    return derive_block_id(Label.ENDPOINTS, str(path).encode())


def sign_record(
    identity: Identity,
    *,
    path: BlockPath,
    server: BlockPath,
    endpoints: Sequence[str],
    now: int,
    lifetime: int,
    before: EndpointRecord | None = None,
) -> SignedRecord:
    """The record of a server that listens at `endpoints`; `before`: the one that it takes the place of.

    Raises FsError (INVALID), CapabilityError where the identity may not serve there.
    """
    issued = now if before is None else max(now, before.issued + 1)
    record = EndpointRecord(
        path=path, server=server, endpoints=tuple(endpoints), issued=issued, expires=issued + lifetime
    )
    fault = _malformed(record)
    if fault is not None:
        raise FsError(Kind.INVALID, f"no endpoint record can say this: {fault}")
    chain = _chain(identity, record, now)
    body = encode(record)
    return SignedRecord(
        record=body, signer=identity.public, chain=chain, signature=identity.signer.sign(Label.ENDPOINT, body)
    )


def read_record(signed: SignedRecord) -> EndpointRecord:
    """What it claims, if it is well-formed; nothing is verified. Raises FsError (PROTOCOL, NOT_SUPPORTED)."""
    try:
        record = decode(signed.record, EndpointRecord, SET_LIMITS)
    except (SerdeError, BlocktreeError) as error:
        raise FsError(Kind.PROTOCOL, f"an endpoint record is malformed: {error}") from error
    if record.format != FORMAT:
        raise FsError(
            Kind.NOT_SUPPORTED, f"an endpoint record has format {record.format}, not {FORMAT}", "update this program"
        )
    fault = _malformed(record)
    if fault is not None:
        raise FsError(Kind.PROTOCOL, f"an endpoint record is malformed: {fault}")
    return record


def check_record(
    signed: SignedRecord,
    *,
    path: BlockPath,
    now: int,
    newest: SignedRecord | None = None,
    revocations: Revocations = NO_REVOCATIONS,
) -> EndpointRecord:
    """The record, once it is certain that a machine that may serve `path` says so now.

    `newest`: the newest one known of this path and server; an older one is refused. Raises FsError with the reason.
    """
    record = read_record(signed)
    if record.path != path:
        raise FsError(Kind.INTEGRITY, f"the endpoint record is for {record.path}, and stands at {path}")
    _check_signature(signed, record)
    _check_time(record, now)
    for place in dict.fromkeys((record.path, record.server)):
        decision = verify_chain(
            signed.chain,
            root=path.root,
            subject=signed.signer.principal,
            right=SERVE,
            now=now,
            path=place,
            revocations=revocations,
        )
        if not decision.allowed:
            raise FsError(decision.kind, f"the signer of the endpoint record may not serve {place}: {decision.reason}")
    if newest is not None:
        check_succession(signed, record, newest)
    return record


def check_succession(signed: SignedRecord, record: EndpointRecord, newest: SignedRecord) -> None:
    """Whether a record may follow the newest that was seen. Raises FsError (ROLLBACK, CONFLICT)."""
    seen = read_record(newest)
    if (seen.path, seen.server) != (record.path, record.server):
        return
    if record.issued < seen.issued:
        raise FsError(
            Kind.ROLLBACK,
            f"the endpoint record of {record.server} is {seen.issued - record.issued} s older than one seen before",
            "whoever shows it goes back in time: do not trust that store",
        )
    if record.issued == seen.issued and signed.record != newest.record:
        raise FsError(
            Kind.CONFLICT,
            f"there are two endpoint records of {record.server} of the same moment",
            "restart that server",
        )


def check_set(
    fresh: RecordSet, block: bytes, *, now: int, stored: RecordSet, revocations: Revocations = NO_REVOCATIONS
) -> None:
    """Whether a set may take the place of the stored one: a server's question, who keeps them. Raises FsError."""
    if fresh.format != FORMAT or not 1 <= len(fresh.records) <= MAX_SERVERS:
        raise FsError(Kind.INVALID, f"a path has 1 to {MAX_SERVERS} endpoint records, not {len(fresh.records)}")
    servers: set[BlockPath] = set()
    for signed in fresh.records:
        path = read_record(signed).path
        record = check_record(signed, path=path, now=now, revocations=revocations)
        if endpoints_block(path) != block:
            raise FsError(Kind.INTEGRITY, f"the endpoint records of {path} stand in another's place")
        if record.server in servers:
            raise FsError(Kind.INVALID, f"there are two endpoint records of {record.server}")
        servers.add(record.server)
        for _, before in readable(stored.records):
            check_succession(signed, record, before)


def read_set(content: bytes) -> RecordSet:
    """What a block says, if it is a set of records; else an empty one."""
    try:
        stored = decode(content, RecordSet, SET_LIMITS)
    except (SerdeError, BlocktreeError):
        return RecordSet()
    return stored if stored.format == FORMAT else RecordSet()


def readable(records: Iterable[SignedRecord]) -> Iterator[tuple[EndpointRecord, SignedRecord]]:
    """Those that are well-formed, with what they claim."""
    for signed in records:
        try:
            yield read_record(signed), signed
        except FsError:
            continue


def _check_signature(signed: SignedRecord, record: EndpointRecord) -> None:
    try:
        signed.signer.verify(Label.ENDPOINT, signed.record, signed.signature)
    except BlocktreeError as error:
        raise FsError(
            Kind.INTEGRITY, f"the endpoint record of {record.server} is not signed by {signed.signer.principal}"
        ) from error


def _check_time(record: EndpointRecord, now: int) -> None:
    if record.issued > now + CLOCK_SKEW:
        raise FsError(
            Kind.INVALID,
            f"the endpoint record of {record.server} was made {record.issued - now} s from now",
            "compare the clocks of both machines",
        )
    if record.expires < now:
        raise FsError(
            Kind.EXPIRED,
            f"the endpoint record of {record.server} expired {_ago(now - record.expires)} ago",
            "the server writes a new one when it starts, and each day",
        )


def _malformed(record: EndpointRecord) -> str | None:
    """Why a record cannot be one; None: it can."""
    if record.path.root != record.server.root:
        return f"{record.path} and {record.server} belong to different roots"
    if not 0 <= record.expires - record.issued <= MAX_LIFETIME:
        return f"it lasts {record.expires - record.issued} s, and 0 to {MAX_LIFETIME} are allowed"
    if not 1 <= len(record.endpoints) <= MAX_ENDPOINTS:
        return f"it has {len(record.endpoints)} endpoints, and 1 to {MAX_ENDPOINTS} are allowed"
    if len(set(record.endpoints)) < len(record.endpoints):
        return "it names an endpoint twice"
    return next((fault for text in record.endpoints if (fault := endpoint_fault(text))), None)


def endpoint_fault(text: str) -> str | None:
    """Why an endpoint can be in no record; None: it can."""
    if len(text.encode(errors="replace")) > MAX_ENDPOINT_BYTES:
        return f"an endpoint has at most {MAX_ENDPOINT_BYTES} bytes"
    try:
        place = parse_endpoint(text)
    except BlocktreeError as error:
        return error.message
    if str(place) != text or not text.isprintable():
        return f"{text!a} is not written as an endpoint is"
    if not isinstance(place, TcpEndpoint):
        return f"{text} is a socket of one machine, which others cannot reach"
    if place.port == 0 or place.host in UNUSABLE_HOSTS:
        return f"{text} is where one listens, not where one can be reached"
    return None


def _chain(identity: Identity, record: EndpointRecord, now: int) -> Chain:
    """One chain for both paths: that for the server, unless only that for the path gives both."""
    root = record.path.root
    chains = [identity.chain_for(root, SERVE, now, path=place) for place in (record.server, record.path)]
    for chain in chains:
        decisions = [
            verify_chain(chain, root=root, subject=identity.principal, right=SERVE, now=now, path=place)
            for place in (record.server, record.path)
        ]
        if all(decision.allowed for decision in decisions):
            return chain
    raise FsError(
        Kind.FORBIDDEN,
        f"{identity.principal} has no chain that allows serving both {record.path} and {record.server}",
        "let an owner grant write,run above both",
    )


def _ago(seconds: int) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
