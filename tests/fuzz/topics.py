"""Targets of sealed topics: messages as a broker delivers them, and bundles as anybody may hand them out."""

from __future__ import annotations

from btlib import BlockPath
from btlib.testing import make_domain_identities
from bttp.sealed import RefusedMessageError, TopicKeyError
from bttp.sealed._bundle import KeyBundle, open_bundle
from bttp.sealed._group_keys import GroupKey
from bttp.sealed._message import Envelope, SessionKey, check

from .target import target

DOMAIN = make_domain_identities("keeper", "sensor", "bob")  # those of the vectors
TOPIC = BlockPath(DOMAIN.principal, ("topics", "warm"))
KEY = GroupKey(topic=TOPIC, epoch=7, key=bytes(range(32)), not_before=0, not_after=2**40)
NOW = 1_000_000
BODIES = (b"", b"21.5")  #: what was ever sealed


@target("sealed-message", "messages of sealed topics", refuses=RefusedMessageError)
def sealed_message(data: bytes) -> None:
    envelope = Envelope.decode(data)
    publisher = check(envelope, TOPIC, NOW).public.principal
    body = SessionKey(KEY, TOPIC, publisher, envelope.session).open(envelope)
    assert body in BODIES, "somebody published whose keys nobody has"


@target("key-bundle", "keys of a topic for its members", refuses=TopicKeyError)
def key_bundle(data: bytes) -> None:
    bundle = KeyBundle.decode(data)
    assert bundle.encode() == data
    key = open_bundle(bundle, TOPIC, DOMAIN["sensor"].opener, NOW)
    assert key.key == KEY.key, "a key was taken that no keeper made"
