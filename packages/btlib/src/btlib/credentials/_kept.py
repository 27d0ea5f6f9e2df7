"""The file that a credential store keeps, whatever is in it: read and written privately, with errors that name it."""

from __future__ import annotations

import os
from pathlib import Path

from .._private_files import NotPrivateError, read_private, write_private
from ..errors import CredentialError
from ..kinds import Kind


def read_kept(path: Path, limit: int) -> bytes:
    """The content, at most `limit` + 1 bytes of it. Raises CredentialError."""
    try:
        return read_private(path, limit)
    except FileNotFoundError as error:
        raise CredentialError(
            f"there are no credentials at {path}",
            kind=Kind.NOT_FOUND,
            hint="make a domain with bt init, or join one with bt enroll",
        ) from error
    except NotPrivateError as error:
        raise CredentialError(
            f"others may use {path}, which is for its owner alone", hint=f"run: chmod 600 {path}"
        ) from error
    except OSError as error:
        raise _failed(path, "read", error) from error


def write_kept(path: Path, content: bytes, *, replace: bool) -> None:
    """Durably keep this. Raises CredentialError (EXISTS) unless told to `replace` what is there."""
    try:
        write_private(path, content, replace=replace)
    except FileExistsError as error:
        raise taken(path) from error
    except OSError as error:
        raise _failed(path, "written", error) from error


def taken(path: Path) -> CredentialError:
    """The error about a place where credentials are kept already."""
    return CredentialError(
        f"{path} exists, and keys that are overwritten are lost", kind=Kind.EXISTS, hint="move it away first"
    )


def _failed(path: Path, verb: str, error: OSError) -> CredentialError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return CredentialError(f"{path} cannot be {verb}: {reason}", kind=Kind.IO)
