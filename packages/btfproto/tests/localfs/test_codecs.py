"""Nodes and attributes as bytes: round trips, and refusals of what no writer of ours stores."""

from __future__ import annotations

import struct

import pytest
from btfproto.localfs._attributes import SealedAttributes, decode_attributes, encode_attributes
from btfproto.localfs._names import MAX_KEY, NameHasher
from btfproto.localfs._nodes import Inner, Leaf, decode_node, pack_entry
from btfproto.provider import FileKind
from btlib.errors import IntegrityError
from hypothesis import given
from hypothesis import strategies as st

HASHER = NameHasher(bytes(32))
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
FILE = SealedAttributes(
    kind=FileKind.FILE,
    mode=0o644,
    uid=1,
    gid=2,
    links=1,
    device=0,
    size=20_000,
    stored=2,
    accessed=-1,
    modified=2,
    changed=3,
    xattrs={"user.a": b"x"},
    target="",
    entries=0,
    free=[],
)


def leaf_of(*names: str, ordinal: int = 0, kind: int = 0) -> bytes:
    entries = sorted((HASHER(name.encode()), name) for name in set(names))
    records = [pack_entry(ordinal, kind, bytes(16), bytes(32), name.encode()) for _, name in entries]
    return Leaf([], [], records, 0).encode()[:2] + struct.pack("<H", len(records)) + b"".join(records)


def decode(data: bytes, level: int = 0, low: int = 0, high: int = MAX_KEY + 1) -> Leaf | Inner:
    return decode_node(data, level, low, high, HASHER)


@given(st.lists(NAMES, min_size=1, max_size=20))
def test_a_leaf_round_trips(names: list[str]) -> None:
    data = leaf_of(*names)
    leaf = decode(data)
    assert isinstance(leaf, Leaf)
    assert sorted(leaf.names) == sorted(set(names))
    assert leaf.encode() == data
    assert leaf.size == len(data)


@given(st.lists(NAMES, min_size=1, max_size=5), st.data())
def test_a_changed_leaf_is_refused_or_another_valid_one(names: list[str], data: st.DataObject) -> None:
    encoded = bytearray(leaf_of(*names))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        node = decode(bytes(encoded))
    except IntegrityError:
        return
    assert node.encode() == bytes(encoded)


def test_every_shorter_and_longer_leaf_is_refused() -> None:
    data = leaf_of("a", "b", "größe")
    for size in range(len(data)):
        with pytest.raises(IntegrityError):
            decode(data[:size])
    with pytest.raises(IntegrityError):
        decode(data + b"\0")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\2\0\0\0", "format"),
        (b"\1\1\0\0", "level"),
        (leaf_of("a", ordinal=32), "ordinal"),
        (leaf_of("a", kind=7), "kind"),
        (leaf_of(".."), "impossible name"),
        (leaf_of("a/b"), "impossible name"),
    ],
)
def test_a_wrong_leaf_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        decode(data)


def test_names_out_of_order_or_twice_are_refused() -> None:
    one, other = sorted(("a", "b"), key=lambda name: HASHER(name.encode()))
    records = [pack_entry(0, 0, bytes(16), bytes(32), name.encode()) for name in (other, one)]
    with pytest.raises(IntegrityError, match="out of order"):
        decode(b"\1\0\2\0" + b"".join(records))
    twins = [pack_entry(ordinal, 0, bytes(16), bytes(32), b"a") for ordinal in (0, 1)]
    with pytest.raises(IntegrityError, match="twice"):
        decode(b"\1\0\2\0" + b"".join(twins))
    key = HASHER(b"a") << 5
    with pytest.raises(IntegrityError, match="wrong node"):
        decode(leaf_of("a"), high=key)
    with pytest.raises(IntegrityError, match="wrong node"):
        decode(leaf_of("a"), low=key + 1)


@pytest.mark.parametrize(
    "inner",
    [
        Inner(1, [1, 1], [64]),
        Inner(1, [0, 1], [64]),
        Inner(1, [1, 2, 3], [64, 64]),
        Inner(1, [1, 2, 3], [96, 64]),
        Inner(1, [1, 2], [65]),
        Inner(1, [1, 2], [0]),
        Inner(1, [1, 2], [1 << 63]),
        Inner(2, [1, 2], [64]),
    ],
)
def test_a_wrong_inner_node_is_refused(inner: Inner) -> None:
    with pytest.raises(IntegrityError):
        decode(inner.encode(), level=1)


def test_every_shorter_inner_node_is_refused() -> None:
    data = Inner(1, [1, 2, 3], [64, 96]).encode()
    assert isinstance(decode(data, level=1), Inner)
    for size in range(len(data)):
        with pytest.raises(IntegrityError):
            decode(data[:size], level=1)
    with pytest.raises(IntegrityError):
        decode(struct.pack("<BBH", 1, 1, 0), level=1)


def test_attributes_round_trip() -> None:
    assert decode_attributes(encode_attributes(FILE), 2, 16_384) == FILE


def test_every_shorter_and_longer_encoding_of_attributes_is_refused() -> None:
    data = encode_attributes(FILE)
    for size in range(len(data)):
        with pytest.raises(IntegrityError):
            decode_attributes(data[:size], 2, 16_384)
    with pytest.raises(IntegrityError):
        decode_attributes(data + b"\0", 2, 16_384)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("size", 1 << 63),
        ("size", 1 << 55),
        ("size", 40_000),
        ("size", 16_384),
        ("mode", 0o10000),
        ("target", "x"),
        ("entries", 1),
        ("free", [1]),
        ("kind", FileKind.SYMLINK),
        ("kind", FileKind.FIFO),
    ],
)
def test_impossible_attributes_are_refused(field: str, value: object) -> None:
    wrong = SealedAttributes(**{name: getattr(FILE, name) for name in SealedAttributes.__struct_fields__})
    setattr(wrong, field, value)
    with pytest.raises(IntegrityError):
        decode_attributes(encode_attributes(wrong), 2, 16_384)
