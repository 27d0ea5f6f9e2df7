"""What a trace tells of one message. See `inspection`."""

from __future__ import annotations

import msgspec


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One message that was handled."""

    path: str
    message: object
    seconds: float
    error: str | None = None  #: the class of what the handler raised
