"""The states of an actor's life. `_life` has their diagram, and alone changes them."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where an actor is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"
    ENDED = "ended"
