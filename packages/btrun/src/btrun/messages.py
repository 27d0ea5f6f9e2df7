"""What a message may be: any frozen value. `Ask[R]` is one that says which type its answer has.

Within a process the object itself is delivered, so it must not change. Messages that go to other machines are Structs
(or other types) that btserde encodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import msgspec

R = TypeVar("R", covariant=True)


class Ask(msgspec.Struct, Generic[R], frozen=True):
    """Base of messages to call with: `class Get(Ask[int], frozen=True)`; then `await ref.call(Get())` is an int."""


class Envelope(ABC):
    """A message around a message, checked at the receiver before any handler sees it.

    This is where a session's monitor looks at each message: the sender makes the envelope (and may refuse to), the
    receiver's runtime opens it. A BlocktreeError from `open` is the answer to a call; for a `send` it makes a dead
    letter. The actor lives on either way.
    """

    @abstractmethod
    def open(self, receiver: object) -> object:
        """The message to handle. `receiver` is the actor. Raises BlocktreeError."""
