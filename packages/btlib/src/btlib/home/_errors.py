"""What can be wrong with a home."""

from __future__ import annotations

from ..errors import BlocktreeError
from ..kinds import Kind


class HomeError(BlocktreeError):
    """A name that this home does not know, or a home that is not as it should be. The user's to mend."""

    def __init__(self, text: str, *, kind: Kind = Kind.INVALID, hint: str | None = None) -> None:
        super().__init__(text, kind=kind, hint=hint)


class ConfigError(HomeError):
    """A settings file that cannot be used; the text names the file and the key."""
