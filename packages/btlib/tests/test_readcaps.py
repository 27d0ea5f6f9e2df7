"""Readcaps: a key for one principal, one block and one epoch, and nothing for anybody else."""

from __future__ import annotations

import msgspec
import pytest
from btlib import BlockPath, CapabilityError, Identity, KeyPair, Label, Readcap, Suite, open_readcap, seal_readcap
from btlib.errors import PathError, SealError
from btlib.testing import make_identity, make_keys
from btlib.testing.strategies import block_paths
from btserde import encode
from hypothesis import given, settings
from hypothesis import strategies as st

BLOCK = bytes(range(16))
KEY = bytes(range(32))
PATH = BlockPath(make_keys("root").public.principal, ("photos",))
SUITES = pytest.mark.parametrize("suite", Suite)


def sealed_for(keys: KeyPair, path: BlockPath | str = PATH) -> Readcap:
    return seal_readcap(keys.public, block=BLOCK, key_epoch=7, key=KEY, path=path)


@SUITES
@settings(max_examples=20, deadline=None)
@given(path=block_paths(), key=st.binary(min_size=32, max_size=32), epoch=st.integers(0, 2**32 - 1))
def test_what_is_sealed_opens_for_its_subject(suite: Suite, path: BlockPath, key: bytes, epoch: int) -> None:
    keys = make_keys("alice", suite)
    readcap = seal_readcap(keys.public, block=BLOCK, key_epoch=epoch, key=key, path=str(path))
    opened = open_readcap(keys, Readcap.decode(encode(readcap)))
    assert (opened.block, opened.key_epoch, opened.key, opened.path) == (BLOCK, epoch, key, path)


@SUITES
def test_another_principal_cannot_open_it_even_under_its_own_name(suite: Suite) -> None:
    alice, eve = make_keys("alice", suite), make_keys("eve", suite)
    readcap = sealed_for(alice)
    with pytest.raises(CapabilityError, match=f"is for {alice.public.principal}, not for {eve.public.principal}"):
        open_readcap(eve, readcap)
    with pytest.raises(SealError):
        open_readcap(eve, msgspec.structs.replace(readcap, subject=eve.public.principal))


@SUITES
@pytest.mark.parametrize("changes", [{"block": bytes(16)}, {"key_epoch": 6}, {"key_epoch": 8}])
def test_it_counts_for_its_block_and_epoch_alone(suite: Suite, changes: dict[str, object]) -> None:
    keys = make_keys("alice", suite)
    with pytest.raises(SealError):
        open_readcap(keys, msgspec.structs.replace(sealed_for(keys), **changes))


def test_the_text_that_is_kept_shows_neither_key_nor_path_nor_the_length_of_a_path() -> None:
    keys = make_keys("alice")
    short = sealed_for(keys, BlockPath(PATH.root))
    long = sealed_for(keys, BlockPath(PATH.root, ("canary-name" * 10,)))
    assert len(encode(short)) == len(encode(long))
    assert b"canary" not in encode(long)
    assert KEY not in encode(long)


def test_the_size_grows_by_units_of_the_padding() -> None:
    keys = make_keys("alice")
    sizes = {len(sealed_for(keys, BlockPath(PATH.root, ("x" * n,))).sealed) for n in range(1, 256)}
    assert sizes == {304, 560}


@SUITES
def test_every_cut_or_flip_is_refused(suite: Suite) -> None:
    keys = make_keys("alice", suite)
    good = encode(sealed_for(keys))
    for size in range(len(good)):
        with pytest.raises(CapabilityError, match="not a readcap"):
            Readcap.decode(good[:size])
    with pytest.raises(CapabilityError, match="not a readcap"):
        Readcap.decode(good + b"\0")
    for place in range(len(good)):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        with pytest.raises((CapabilityError, SealError)):
            open_readcap(keys, Readcap.decode(bytes(flipped)))


def test_a_readcap_of_boundless_size_is_refused() -> None:
    with pytest.raises(CapabilityError, match="not a readcap"):
        Readcap.decode(bytes(10_000))


PLAINTEXTS = {
    "empty": b"",
    "key only": KEY,
    "key and zeros": KEY + bytes(224),
    "no padding": KEY + encode(str(PATH)),
    "padding not zero": (KEY + encode(str(PATH))).ljust(255, b"\0") + b"\1",
    "padding too long": (KEY + encode(str(PATH))).ljust(512, b"\0"),
    "no path": (KEY + encode("photos")).ljust(256, b"\0"),
    "path with dots": (KEY + encode(f"{PATH}/..")).ljust(256, b"\0"),
    "path with a trailing slash": (KEY + encode(f"{PATH}/")).ljust(256, b"\0"),
    "length beyond the end": (KEY + b"\xfc" + str(PATH).encode()).ljust(256, b"\0"),
    "length in a longer form": (KEY + b"\xfd\x46\0" + str(PATH).encode()).ljust(256, b"\0"),
}


@pytest.mark.parametrize("plain", PLAINTEXTS.values(), ids=PLAINTEXTS)
def test_a_seal_around_something_else_is_refused_without_quoting_it(plain: bytes) -> None:
    keys = make_keys("alice")
    info = keys.public.principal.digest + BLOCK + (7).to_bytes(4, "little")
    sealed = keys.public.seal(Label.READCAP, info, plain)
    readcap = Readcap(subject=keys.public.principal, block=BLOCK, key_epoch=7, sealed=sealed)
    with pytest.raises(SealError, match="the readcap opens, but") as caught:
        open_readcap(keys, readcap)
    assert "photos" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_info_of_the_specification_is_what_is_bound() -> None:
    keys = make_keys("alice")
    info = keys.public.principal.digest + BLOCK + (7).to_bytes(4, "little")
    plain = (KEY + encode(str(PATH))).ljust(256, b"\0")
    sealed = keys.public.seal(Label.READCAP, info, plain)
    opened = open_readcap(keys, msgspec.structs.replace(sealed_for(keys), sealed=sealed))
    assert opened.key == KEY
    assert opened.path == PATH


@pytest.mark.parametrize(("block", "key"), [(bytes(15), KEY), (BLOCK, bytes(31)), (BLOCK, bytes(33)), (b"", b"")])
def test_keys_and_blocks_have_fixed_sizes(block: bytes, key: bytes) -> None:
    with pytest.raises(CapabilityError, match="key of 32 and a block id of 16 bytes"):
        seal_readcap(make_keys("alice").public, block=block, key_epoch=0, key=key, path=PATH)


def test_a_path_that_is_not_canonical_is_not_sealed() -> None:
    with pytest.raises(PathError):
        sealed_for(make_keys("alice"), f"{PATH}/")


def test_an_identity_signs_and_opens_with_one_key_set() -> None:
    with pytest.raises(CapabilityError, match="one principal"):
        Identity(signer=make_keys("alice"), opener=make_keys("bob"))
    identity = make_identity("alice")
    assert open_readcap(identity.opener, sealed_for(make_keys("alice"))).key == KEY
