"""What can go wrong with a chip, as errors that say what to do next. Pure: it knows no chip, only its answers."""

from __future__ import annotations

from typing import ClassVar

from ..errors import CredentialError
from ..kinds import Kind


class TpmError(CredentialError):
    """The chip refused or failed in a way that has no error of its own; the message quotes its answer."""

    default_kind: ClassVar[Kind] = Kind.IO


class TpmMissingError(TpmError):
    """No chip answers, or what is needed to talk to one is not installed. The user can help."""

    default_kind = Kind.UNREACHABLE


class TpmLockedError(TpmError):
    """The chip refuses every passphrase for a while, because too many wrong ones came. Waiting helps."""

    default_kind = Kind.LIMIT


class TpmFullError(TpmError):
    """Other programs fill the chip's few places for keys or sessions. Ending them helps."""

    default_kind = Kind.BUSY


class OtherTpmError(TpmError):
    """The keys belong to another chip, or this one was cleared since. Here they are worth nothing."""

    default_kind = Kind.UNAUTHENTICATED


class TpmStateError(TpmError):
    """The keys are bound to how the machine starts, and it started differently. Starting it as before helps."""

    default_kind = Kind.UNAUTHENTICATED
