"""Targets of what a store keeps: headers, trees, sectors, directories, attributes, records, segments, commits."""

from __future__ import annotations

import tempfile
from pathlib import Path

from btfproto.domain import DomainReader, DomainRecord, Grants, ScopeRecord
from btfproto.domain._records import RECORD_LIMITS
from btfproto.errors import StoreError
from btfproto.localfs._attributes import decode_attributes, encode_attributes
from btfproto.localfs._names import MAX_KEY, NameHasher
from btfproto.localfs._nodes import MAX_LEVEL, decode_node
from btfproto.messages import decode_store_request, encode_store_request, stores
from btfproto.store._files import SystemFiles
from btfproto.store._segment_format import (
    SEGMENT_HEADER_SIZE,
    decode_run_header,
    encode_run_header,
    encode_segment_header,
)
from btfproto.store._segments import Segments
from btfproto.store.check import StoreFacts, check_commit
from btfproto.testing.domains import NOW, World
from btlib import KeyPair, Suite
from btlib.block import (
    SectorCipher,
    VerifiedRoots,
    decode_header,
    decode_signed_header,
    decode_writer,
    encode_header,
    encode_signed_header,
    encode_writer,
    tree_height,
    verify_signed_header,
    writer_id,
)
from btlib.block._merkle import check_node_shape, trim
from btlib.errors import BlocktreeError, CapabilityError, IntegrityError
from btserde import DecodeError, decode, encode

from .target import target

WORLD = World.make()
FACTS = StoreFacts(WORLD.store, DomainReader(WORLD.store, WORLD.root.principal))
WRITER = KeyPair.from_seed(Suite.ED25519_X25519, bytes(range(32))).public  #: of the vectors
CIPHER = SectorCipher(bytes(range(32)), bytes(range(16)), 7)
HASHER = NameHasher(bytes(range(32)))
STORE_ID = bytes(range(16, 32))
RECORDS = (DomainRecord, ScopeRecord, Grants)
TREE_SECTORS = 100_000  #: of the tree to which nodes belong


@target("header", "headers", refuses=IntegrityError)
def header(data: bytes) -> None:
    found = decode_header(data)
    assert encode_header(found) == data
    assert tree_height(found.sector_count) >= 0


@target("signed-header", "signed headers, and by whom they are", refuses=BlocktreeError)
def signed_header(data: bytes) -> None:
    signed = decode_signed_header(data)
    assert encode_signed_header(signed) == data
    verify_signed_header(signed, WRITER, VerifiedRoots())


@target("writer-record", "records of writers (under the id of what they hold)", refuses=IntegrityError)
def writer_record(data: bytes) -> None:
    assert encode_writer(decode_writer(data, writer_id(data))) == data


@target("merkle-node", "nodes of Merkle trees", refuses=IntegrityError)
def merkle_node(data: bytes) -> None:
    level, index, node = data[0] % 4 if data else 0, data[1] if len(data) > 1 else 0, data[2:]
    check_node_shape(level + 1, index, node, TREE_SECTORS)
    assert trim(node) == node, "a node with holes at its end was taken"


@target("sector", "sealed sectors", refuses=IntegrityError)
def sector(data: bytes) -> None:
    CIPHER.open(3, data)


@target("sealed-attributes", "sealed attributes", refuses=IntegrityError)
def sealed_attributes(data: bytes) -> None:
    CIPHER.open_attributes(9, data)


@target("attributes", "attributes, as they are when opened", refuses=IntegrityError)
def attributes(data: bytes) -> None:
    sectors = data[0] if data else 0
    body = data[1:]
    assert encode_attributes(decode_attributes(body, sectors, 1 << 14)) == body


@target("directory-node", "nodes of directories, as they are when opened", refuses=IntegrityError)
def directory_node(data: bytes) -> None:
    level = (data[0] if data else 0) % (MAX_LEVEL + 1)
    body = data[1:]
    assert decode_node(body, level, 0, MAX_KEY + 1, HASHER).encode() == body


@target("domain-record", "records of domains, scopes and grants", refuses=(DecodeError, CapabilityError))
def domain_record(data: bytes) -> None:
    record = RECORDS[(data[0] if data else 0) % len(RECORDS)]
    body = data[1:]
    assert encode(decode(body, record, RECORD_LIMITS)) == body


@target("commit", "commits, as a server without keys judges them", refuses=BlocktreeError)
def commit(data: bytes) -> None:
    request = decode_store_request(data)
    assert b"".join(encode_store_request(request)) == data
    if isinstance(request, stores.DoCommit):
        check_commit(request.commit, FACTS, root=WORLD.root.principal, now=NOW)


@target("run-header", "headers of runs in segments", refuses=())
def run_header(data: bytes) -> None:
    found = decode_run_header(data)
    assert found is None or (encode_run_header(found) == data and found.data_size > 0)


@target("segment", "segment files (behind a header of this store)", refuses=StoreError)
def segment(data: bytes) -> None:
    content = encode_segment_header(1, STORE_ID) + data
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "00000001.seg").write_bytes(content)
        segments = Segments(directory, STORE_ID, SystemFiles(), {1: len(content)})
        try:
            ends = [offset + run.data_size for offset, run in segments.walk(1)]
        finally:
            segments.close()
    assert ends == sorted(set(ends)), "runs overlap"
    assert (ends[-1:] or [SEGMENT_HEADER_SIZE]) == [len(content)]
