"""Block paths: one text each, and no way out of a directory."""

from __future__ import annotations

import pytest
from btlib import BlockPath, Kind, Principal
from btlib.errors import PathError
from btlib.paths import MAX_NAMES, MAX_PATH_BYTES, check_name
from btlib.testing.strategies import block_paths, names
from btserde import DecodeError, decode, encode
from hypothesis import given
from hypothesis import strategies as st

ROOT = Principal(bytes(32))
OTHER = Principal(bytes([7] * 32))
HOME = BlockPath(ROOT)

BAD_NAMES = {
    "empty": "",
    "dot": ".",
    "dot dot": "..",
    "a slash": "a/b",
    "only a slash": "/",
    "a NUL": "a\0b",
    "256 bytes": "a" * 256,
    "256 bytes of two-byte letters": "é" * 128,
    "a lone surrogate": "a\udc80",
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_what_is_no_name_is_refused_everywhere(name: str) -> None:
    for make in (check_name, HOME.child, lambda text: BlockPath(ROOT, (text,))):
        with pytest.raises(PathError) as caught:
            make(name)
        assert caught.value.kind is Kind.INVALID
        assert str(caught.value).isascii()
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a", "...", ".hidden", "a b", "é" * 127, "x" * 255, "\n", "~", "*", "\u202e"])
def test_unusual_names_are_names(name: str) -> None:
    assert check_name(name) == name
    assert BlockPath.parse(str(HOME.child(name))) == HOME.child(name)


@given(block_paths())
def test_the_text_of_a_path_gives_it_back(path: BlockPath) -> None:
    assert BlockPath.parse(str(path)) == path
    assert hash(BlockPath.parse(str(path))) == hash(path)


@given(block_paths())
def test_a_path_that_is_encoded_decodes(path: BlockPath) -> None:
    assert decode(encode(path), BlockPath) == path


@given(st.text() | st.lists(st.sampled_from(["", ".", "..", "a", "\0", str(ROOT), str(OTHER)])).map("/".join))
def test_any_text_is_a_canonical_path_or_refused(text: str) -> None:
    try:
        again = str(BlockPath.parse(text))
    except PathError as error:
        again = text if str(error).isprintable() else "a message with control characters"
    assert again == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin with a slash"),
        ("photos", "does not begin with a slash"),
        (f"{ROOT}/a", "does not begin with a slash"),
        ("/", "ends in a slash"),
        (f"/{ROOT}/", "leave the last slash away"),
        (f"/{ROOT}/a/", "leave the last slash away"),
        (f"/{ROOT}//a", "a name has 1 to 255 bytes"),
        (f"//{ROOT}/a", "no principal"),
        (f"/{ROOT}/./a", "cannot be a name"),
        (f"/{ROOT}/a/../b", "cannot be a name"),
        (f"/{ROOT}/a\0", "NUL"),
        (f"/{str(ROOT).upper()}/a", "upper case"),
        ("/home/photos", "no principal"),
        (f"/{ROOT}" + "/a" * (MAX_NAMES + 1), "256 names"),
        (f"/{ROOT}" + ("/" + "a" * 250) * 17, "4096 bytes"),
        ("/" * 100000, "256 names"),
    ],
)
def test_what_is_no_path_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(PathError, match=reason) as caught:
        BlockPath.parse(text)
    assert len(str(caught.value)) < 500


def test_the_longest_path_is_a_path() -> None:
    long = ["a" * 252] * 15
    rest = MAX_PATH_BYTES - len(str(BlockPath(ROOT, tuple(long)))) - 1
    longest = BlockPath(ROOT, (*long, "b" * rest))
    assert len(str(longest)) == MAX_PATH_BYTES
    assert BlockPath.parse(str(longest)) == longest
    with pytest.raises(PathError, match="4096 bytes"):
        BlockPath(ROOT, (*long, "b" * rest + "b"))
    deepest = BlockPath(ROOT, ("a",) * MAX_NAMES)
    assert BlockPath.parse(str(deepest)) == deepest
    with pytest.raises(PathError, match="256 names, not 257"):
        deepest.child("a")


@pytest.mark.parametrize(
    ("prefix", "path", "answer"),
    [
        ((), (), True),
        ((), ("a",), True),
        (("a",), ("a",), True),
        (("a",), ("a", "b"), True),
        (("a",), ("ab",), False),
        (("a",), ("ab", "c"), False),
        (("a", "b"), ("a",), False),
        (("a", "b"), ("a", "bc"), False),
        (("a", "b"), ("a", "c", "b"), False),
        (("A",), ("a",), False),
        (("é",), ("e\u0301",), False),
    ],
)
def test_a_prefix_is_one_name_by_name(prefix: tuple[str, ...], path: tuple[str, ...], answer: bool) -> None:
    assert BlockPath(ROOT, prefix).is_prefix_of(BlockPath(ROOT, path)) is answer
    assert not BlockPath(OTHER, prefix).is_prefix_of(BlockPath(ROOT, path))


@given(block_paths(), names())
def test_a_child_lies_below_its_parent(path: BlockPath, name: str) -> None:
    child = path.child(name)
    assert child.parent == path
    assert child.name == name
    assert path.is_prefix_of(child)
    assert not child.is_prefix_of(path)


def test_the_root_has_no_parent_and_no_name() -> None:
    assert HOME.parent is None
    assert HOME.name == ""


def test_a_decoder_refuses_bad_names() -> None:
    good = encode(HOME.child("ab"))
    assert decode(good, BlockPath) == HOME.child("ab")
    with pytest.raises(DecodeError, match="cannot be a name"):
        decode(good[:-2] + b"..", BlockPath)
