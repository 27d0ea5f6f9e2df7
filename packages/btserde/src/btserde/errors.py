"""The errors of btserde: one root, and one leaf for each party that may be at fault."""

from __future__ import annotations


class SerdeError(Exception):
    """Root of all errors of this package."""


class SchemaError(SerdeError):
    """A type has no encoding: the fault of whoever wrote the type, found when the codec is made."""


class EncodeError(SerdeError):
    """A value does not fit its type: our caller's fault; nothing was encoded.

    `path` names the offending part (`entries[3].name`), empty for the value itself.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path or 'value'}: {self.reason}"


class DecodeError(SerdeError):
    """Bytes are no canonical encoding of the type, or exceed the limits: the fault of whoever sent them.

    `path` names the part being read (`entries[3].name`), `offset` the byte at which it could not go on.
    """

    def __init__(self, reason: str, path: str = "", offset: int = 0) -> None:
        super().__init__(reason, path, offset)
        self.reason = reason
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.path or 'value'}: {self.reason} (at byte {self.offset})"
