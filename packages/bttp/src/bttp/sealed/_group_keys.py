"""Group keys: what the members of a sealed topic share, and the keys of single sessions derived from it. Pure.

    topic id    = SHA-256(TOPIC label ‖ path)
    key id      = SHA-256(TOPIC_KEY_ID label ‖ topic id ‖ epoch U32 ‖ group key)
    session key = HKDF-SHA256(group key, no salt, info, 32 bytes)
    info        = TOPIC_KEY label ‖ topic id ‖ epoch U32 ‖ publisher ‖ session (16)

In a session key the topic is the very one that is published to; in a key id, the one that the group key is for: there
and below. A key id commits to its key, so that two members never hold different keys for the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from btlib.labels import Label, tagged_hash
from btlib.paths import BlockPath
from btlib.principals import Principal
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_SIZE = 32
SESSION_SIZE = 16  #: random bytes that name one publisher's session: no two are ever the same

_TOPICS = 1024  #: ids that are remembered; the bound only stops growth


@lru_cache(_TOPICS)
def topic_id(path: BlockPath) -> bytes:
    """32 bytes that name a topic, whatever the length of its path."""
    return tagged_hash(Label.TOPIC, str(path).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKey:
    """The key of one epoch. It does not show in its representation."""

    topic: BlockPath  #: it is for this topic, and those below
    epoch: int
    key: bytes = field(repr=False)
    not_before: int  #: unix seconds, both inclusive: when publishers may seal under it
    not_after: int

    @property
    def id(self) -> bytes:
        """See the module."""
        return tagged_hash(Label.TOPIC_KEY_ID, topic_id(self.topic), _u32(self.epoch), self.key)

    def session_key(self, topic: BlockPath, publisher: Principal, session: bytes) -> bytes:
        """The key under which one publisher seals its messages to one topic, in one session."""
        info = Label.TOPIC_KEY.value + topic_id(topic) + _u32(self.epoch) + publisher.digest + session
        return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=None, info=info).derive(self.key)


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
