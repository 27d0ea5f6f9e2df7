"""Scrubbing finds every damage and names the file; a rebuild places again what is whole, from segments and trees."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest
from btfproto.errors import StoreError
from btfproto.store import BlockChange, Committed, EmbeddedStore, RecordHole, RecordRun
from btfproto.store.rebuild import main, rebuild_placement
from btfproto.testing._store_tools import A, B, C, commit_of, records_of
from btlib.block import HOLE, Header, SectorTree, encode_signed_header, leaf_hash, sign_commit
from btlib.key_pairs import KeyPair
from btlib.kinds import Kind
from btlib.public_keys import Suite

KEYS = KeyPair.from_seed(Suite.ED25519_X25519, bytes(32))


class Writer:
    """Writes blocks with true headers and trees into a store."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.store = store
        self.trees: dict[bytes, SectorTree] = {}
        self.versions: dict[bytes, int] = {}

    def write(self, block: bytes, sectors: Mapping[int, bytes], count: int) -> None:
        tree = self.trees.setdefault(block, SectorTree(HOLE, 0, lambda level, index: None))
        update = tree.update({i: leaf_hash(i, s) for i, s in sectors.items()}, count)
        version = self.versions.get(block, 0) + 1
        header = Header(
            block=block,
            scope=bytes(16),
            version=version,
            sector_count=count,
            root=update.root,
            chain=bytes(32),
            written=0,
        )
        runs = [RecordRun(0, i, [s]) for i, s in sectors.items()]
        runs += [RecordRun(level, index, [node]) for (level, index), node in update.nodes.items() if node]
        change = BlockChange(
            block=block,
            expected=version - 1,
            version=version,
            signed=encode_signed_header(sign_commit(KEYS, [header])[0]),
            holes=[RecordHole(d.level, d.first, d.count) for d in update.dropped],
            runs=runs,
        )
        assert isinstance(self.store.commit(commit_of(change)), Committed)
        tree.apply(update)
        self.versions[block] = version


@pytest.fixture
def content() -> dict[int, bytes]:
    return {}


def filled(directory: Path, content: dict[int, bytes]) -> EmbeddedStore:
    """A store with a large file that was written again in places, one in two sectors, and a small one."""
    chooser = random.Random(1)
    store = EmbeddedStore(directory)
    writer = Writer(store)
    content |= {i: b"%d" % i * 5_000 for i in range(300)}
    writer.write(A, content, 300)
    for version in range(10):
        changes = {chooser.randrange(300): b"again %d" % version * 2_000 for _ in range(5)}
        content |= changes
        writer.write(A, changes, 300)
    writer.write(B, {0: b"small"}, 1)
    writer.write(C, {0: b"x" * 16_000, 1: b"y" * 900}, 2)
    return store


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x55]))


def test_a_whole_store_has_no_damage(tmp_path: Path, content: dict[int, bytes]) -> None:
    store = filled(tmp_path, content)
    assert list(store.scrub()) == []
    store.close()


def test_a_flipped_byte_of_a_sector_is_found_with_file_and_record(tmp_path: Path, content: dict[int, bytes]) -> None:
    store = filled(tmp_path, content)
    segment = tmp_path / "segments/00000001.seg"
    at = segment.read_bytes().index(content[7]) + 100
    flip(segment, at)
    (error,) = store.scrub()
    assert error.kind is Kind.INTEGRITY
    assert f"record 0/7 of block {A.hex()} in {segment} (byte {at - 100}) is not what was signed" in error.message
    store.close()


def test_a_flipped_byte_of_a_node_a_small_record_or_a_head_is_found(tmp_path: Path, content: dict[int, bytes]) -> None:
    store = filled(tmp_path, content)
    place = store._place(A, 2, 0)
    flip(tmp_path / "segments/00000001.seg", int(place.split("byte ")[1].rstrip(")")))
    store._index._writer.execute("UPDATE smalls SET record = x'00'")
    store._index._writer.execute("UPDATE heads SET signed = substr(signed, 1, 50) WHERE block = ?", (C,))
    store._cache.drop(C)
    messages = sorted(error.message for error in store.scrub())
    assert len(messages) == 3
    assert any(f"record 0/0 of block {B.hex()} in {tmp_path / 'index.sqlite'}" in text for text in messages)
    assert any(f"record 2/0 of block {A.hex()}" in text for text in messages)
    assert any(f"the head of block {C.hex()} is damaged" in text for text in messages)
    store.close()


def damage_index(directory: Path, statement: str) -> None:
    with sqlite3.connect(directory / "index.sqlite") as db:
        db.execute(statement)
    db.close()


@pytest.mark.parametrize("lost", ["DELETE FROM runs", "UPDATE runs SET offset = offset + 1", "DELETE FROM segments"])
def test_a_lost_placement_is_rebuilt_from_segments_and_trees(
    tmp_path: Path, content: dict[int, bytes], lost: str
) -> None:
    store = filled(tmp_path, content)
    before = store.status().stored_bytes
    store.close()
    damage_index(tmp_path, lost)
    result = rebuild_placement(tmp_path)
    assert (result.blocks, result.lost) == (2, [])
    store = EmbeddedStore(tmp_path)
    assert records_of(store, A, 0, 0, 300) == [content[i] for i in range(300)]
    assert records_of(store, B, 0, 0, 1) == [b"small"]
    assert store.status().stored_bytes == before
    assert list(store.scrub()) == []
    store.close()


def test_a_rebuild_keeps_what_a_truncated_segment_still_has_and_names_the_rest(
    tmp_path: Path, content: dict[int, bytes]
) -> None:
    filled(tmp_path, content).close()
    segment = tmp_path / "segments/00000001.seg"
    data = segment.read_bytes()
    with segment.open("r+b") as file:
        file.truncate(data.index(b"y" * 900) - 10)
    with pytest.raises(StoreError, match=f"python -m btfproto.store.rebuild {tmp_path}"):
        EmbeddedStore(tmp_path)
    result = rebuild_placement(tmp_path)
    assert any(f"of block {C.hex()} is in no segment" in sentence for sentence in result.lost)
    assert not any(A.hex() in sentence for sentence in result.lost)
    store = EmbeddedStore(tmp_path)
    assert records_of(store, A, 0, 0, 300) == [content[i] for i in range(300)]
    assert {error.kind for error in store.scrub()} == {Kind.INTEGRITY}
    store.close()


def test_a_directory_without_an_index_is_not_made_into_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="which holds all heads") as caught:
        rebuild_placement(tmp_path)
    assert caught.value.kind is Kind.NOT_FOUND
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_did(
    tmp_path: Path, content: dict[int, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path, content).close()
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "placed 306 records of 2 blocks; 0 lost\n"
    assert main([]) == 2
    store = EmbeddedStore(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert "is in use" in capsys.readouterr().err
    store.close()
