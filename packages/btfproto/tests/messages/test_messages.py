"""The messages and their bytes: one form each, and nothing else is taken."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from btfproto.errors import FsError, StoreError
from btfproto.messages import (
    Failed,
    MessageError,
    decode_fs_call,
    decode_fs_reply,
    decode_store_reply,
    decode_store_request,
    encode_fs_call,
    encode_fs_reply,
    encode_store_reply,
    encode_store_request,
    files,
    printable,
    stores,
)
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from hypothesis import given
from hypothesis import strategies as st

from . import samples

HERE = Path(__file__).resolve().parent
VECTORS = sorted((HERE / "vectors").glob("*.json"))
Decode = Callable[[bytes], object]


def decode_any_store_reply(body: bytes) -> object:
    return decode_store_reply(body, stores.Status)


DECODERS: dict[str, Decode] = {
    "fs-request": decode_fs_call,
    "fs-reply": decode_fs_reply,
    "store-request": decode_store_request,
    "store-reply": decode_any_store_reply,
}


def decoder(path: Path) -> Decode:
    return DECODERS["-".join(path.name.split("-")[:2])]


def body(path: Path) -> bytes:
    return bytes.fromhex(json.loads(path.read_text())["bytes"])


@pytest.mark.parametrize("request_", samples.FS_REQUESTS, ids=lambda value: type(value).__name__)
def test_a_file_request_comes_back_as_it_was(request_: files.FsRequest) -> None:
    call = files.FsCall(session=samples.SESSION, number=2**63, request=request_)
    assert decode_fs_call(b"".join(encode_fs_call(call))) == call


@pytest.mark.parametrize("reply", samples.FS_REPLIES[:-1], ids=lambda value: type(value).__name__)
def test_a_file_reply_comes_back_as_it_was(reply: files.FsReply) -> None:
    assert decode_fs_reply(b"".join(encode_fs_reply(reply))) == reply


@pytest.mark.parametrize("request_", samples.STORE_REQUESTS, ids=lambda value: type(value).__name__)
def test_a_store_request_comes_back_as_it_was(request_: stores.StoreRequest) -> None:
    assert decode_store_request(b"".join(encode_store_request(request_))) == request_


@pytest.mark.parametrize("reply", samples.STORE_REPLIES[:-1], ids=lambda value: type(value).__name__)
def test_a_store_reply_comes_back_as_it_was(reply: stores.StoreReply) -> None:
    assert decode_store_reply(b"".join(encode_store_reply(reply)), type(reply)) == reply


def test_a_failure_is_raised_as_the_error_of_its_side() -> None:
    failed = Failed(kind=Kind.NO_SPACE, text="full", hint="delete something")
    with pytest.raises(FsError, match="full; delete something"):
        decode_fs_reply(b"".join(encode_fs_reply(failed)))
    with pytest.raises(StoreError, match="full; delete something"):
        decode_store_reply(b"".join(encode_store_reply(failed)), stores.Status)


def test_every_message_has_a_sample() -> None:
    assert {type(request) for request in samples.FS_REQUESTS} == set(files.FsRequest.__args__)
    assert {type(reply) for reply in samples.FS_REPLIES} == set(files.FsReply.__args__)
    assert {type(request) for request in samples.STORE_REQUESTS} == set(stores.StoreRequest.__args__)
    assert {type(reply) for reply in samples.STORE_REPLIES} == set(stores.StoreReply.__args__)


def test_the_vectors_are_what_the_program_makes() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "make_vectors.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_message_cut_anywhere_is_refused(path: Path) -> None:
    whole, decode = body(path), decoder(path)
    for size in range(len(whole)):
        with pytest.raises(MessageError):
            decode(whole[:size])
    with pytest.raises(MessageError):
        decode(whole + b"\0")


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_flipped_bit_gives_another_message_or_an_error_of_ours(path: Path) -> None:
    whole, decode = body(path), decoder(path)
    for position in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        try:
            found = decode(bytes(flipped))
        except BlocktreeError:
            continue
        assert repr(found) != json.loads(path.read_text())["value"]


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
@given(data=st.binary(max_size=200))
def test_no_bytes_raise_anything_but_an_error_of_ours(decode: Decode, data: bytes) -> None:
    with contextlib.suppress(BlocktreeError):
        decode(data)


def test_a_count_of_a_billion_is_refused_before_anything_is_allocated() -> None:
    huge = b"".join(encode_fs_reply(files.Changed(inodes=[])))
    with pytest.raises(MessageError):
        decode_fs_reply(huge[:1] + b"\xfe\x00\xca\x9a\x3b" + huge[2:])


def test_bodies_are_views_into_the_message() -> None:
    message = b"".join(encode_fs_reply(files.Data(data=b"content")))
    reply = decode_fs_reply(message)
    assert isinstance(reply, files.Data)
    assert isinstance(reply.data, memoryview)


def test_a_large_body_is_a_part_of_its_own() -> None:
    data = bytes(65_536)
    parts = encode_fs_reply(files.Data(data=data))
    assert any(part is data for part in parts)


def test_a_peers_text_is_made_printable_and_short() -> None:
    assert printable("ok\n\x1b[2J\u202e") == "ok��[2J�"
    assert len(printable("x" * 10_000)) == 2000
