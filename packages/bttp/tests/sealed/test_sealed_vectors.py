"""The vectors of `docs/spec/topics.md`: each does what it says, and is what the second implementation makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from btlib import BlockPath
from btlib.testing import make_domain_identities
from bttp.sealed import RefusedMessageError, TopicKeyError
from bttp.sealed._bundle import KeyBundle, open_bundle
from bttp.sealed._group_keys import GroupKey, topic_id
from bttp.sealed._message import Envelope, SessionKey, check

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "vectors").glob("*.json"))
DOMAIN = make_domain_identities("keeper", "sensor", "bob")

Vector = dict[str, Any]


def raw(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector[name])


def open_message(vector: Vector) -> bytes:
    topic, group = BlockPath.parse(vector["topic"]), BlockPath.parse(vector["group"])
    key = GroupKey(topic=group, epoch=vector["epoch"], key=raw(vector, "group_key"), not_before=0, not_after=2**40)
    envelope = Envelope.decode(raw(vector, "bytes"))
    publisher = check(envelope, topic, vector["now"]).public.principal
    if "session_key" in vector:
        assert topic_id(topic) == raw(vector, "topic_id")
        assert key.id == raw(vector, "key_id")
        assert key.session_key(topic, publisher, envelope.session) == raw(vector, "session_key")
    assert envelope.key_id == key.id
    return SessionKey(key, topic, publisher, envelope.session).open(envelope)


def open_keys(vector: Vector) -> GroupKey:
    bundle = KeyBundle.decode(raw(vector, "bytes"))
    return open_bundle(bundle, BlockPath.parse(vector["topic"]), DOMAIN[vector["member"]].opener, vector["now"])


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_vector_does_what_it_says(file: Path) -> None:
    vector: Vector = json.loads(file.read_text(encoding="utf-8"))
    message = vector["kind"] == "message"
    if vector["expect"] == "refuse":
        with pytest.raises(RefusedMessageError if message else TopicKeyError):
            open_message(vector) if message else open_keys(vector)
    elif message:
        assert open_message(vector) == raw(vector, "body")
    else:
        key = open_keys(vector)
        assert (key.key, key.epoch) == (raw(vector, "group_key"), vector["epoch"])


def test_the_second_implementation_makes_the_vectors() -> None:
    assert len(FILES) == 31
    command = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
