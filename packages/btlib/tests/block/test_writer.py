"""Writer records name themselves."""

from __future__ import annotations

import hashlib

import pytest
from btlib.block import WriterRecord, decode_writer, derive_block_id, encode_writer, writer_id
from btlib.errors import IntegrityError
from btlib.key_pairs import KeyPair
from btlib.labels import Label
from btlib.public_keys import Suite
from btlib.writecaps import Chain

KEYS = KeyPair.from_seed(Suite.ED25519_X25519, bytes(32))
RECORD = WriterRecord(Chain(), KEYS.public)


def test_a_writer_record_is_named_by_its_content() -> None:
    encoded = encode_writer(RECORD)
    assert RECORD.id == writer_id(encoded) == hashlib.sha256(Label.WRITER.value + encoded).digest()
    assert RECORD.block == RECORD.id[:16]
    assert decode_writer(encoded, RECORD.id) == RECORD


def test_other_content_than_the_id_says_is_refused() -> None:
    encoded = encode_writer(RECORD)
    for at in range(len(encoded)):
        with pytest.raises(IntegrityError, match="another content"):
            decode_writer(encoded[:at] + bytes([encoded[at] ^ 1]) + encoded[at + 1 :], RECORD.id)


def test_bytes_that_are_no_record_are_refused_even_under_their_own_id() -> None:
    with pytest.raises(IntegrityError, match="malformed"):
        decode_writer(b"no record", writer_id(b"no record"))


def test_derived_block_ids_differ_by_label_and_by_every_part() -> None:
    ids = {
        derive_block_id(Label.GRANTS, b"ab", b"c"),
        derive_block_id(Label.GRANTS, b"a", b"bc"),
        derive_block_id(Label.GRANTS, b"abc"),
        derive_block_id(Label.SCOPE, b"abc"),
    }
    assert {len(block) for block in ids} == {16}
    assert len(ids) == 4
