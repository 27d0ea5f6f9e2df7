"""What is left to be re-keyed: a small file for each place, written before anything is changed, gone when it is done.

So who is killed in the middle, or has left files for later, is told by `bt status`, and `bt rekey --resume` finds it
all. A note is for oneself: what it says is taken for true, so it lies where only its user may write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec
from btlib.errors import BlocktreeError
from btlib.home import Domain, make_private_directory
from btlib.paths import BlockPath

from .files.local import local_errors

DIRECTORY = "rekeying"  #: in a domain's data
FORMAT = 1


class RekeyNote(msgspec.Struct, frozen=True, kw_only=True):
    """`was`: the key epoch of the directory before; a higher one says that it was begun. `because`: who was revoked."""

    format: int = FORMAT
    path: str
    was: int
    lazily: bool
    because: str | None = None

    @property
    def place(self) -> BlockPath:
        return BlockPath.parse(self.path)

    def begun(self, epoch: int) -> bool:
        """Whether the directory itself has its new key already."""
        return epoch > self.was


def notes(domain: Domain) -> Iterator[RekeyNote]:
    """All that there are, by path; a damaged one is left out: the place can be re-keyed anew."""
    found = []
    for file in (domain.data / DIRECTORY).glob("*.json"):
        try:
            note = msgspec.json.decode(file.read_bytes(), type=RekeyNote)
            if note.format == FORMAT and note.place.root == domain.root:
                found.append(note)
        except (OSError, msgspec.DecodeError, BlocktreeError):
            continue
    yield from sorted(found, key=lambda note: note.path)


def note_of(domain: Domain, place: BlockPath) -> RekeyNote | None:
    """The note of this very place."""
    return next((note for note in notes(domain) if note.path == str(place)), None)


def keep_note(domain: Domain, note: RekeyNote) -> None:
    """Durable enough: a note that is lost with the power costs a walk, and no secret. Raises FsError."""
    directory = domain.data / DIRECTORY
    make_private_directory(directory)
    file = directory / _name(note.place)
    fresh = file.with_suffix(".new")
    with local_errors(file):
        fresh.write_bytes(msgspec.json.encode(note))
        fresh.replace(file)


def drop_note(domain: Domain, place: BlockPath) -> None:
    """It is done, or begun anew. Raises FsError."""
    file = domain.data / DIRECTORY / _name(place)
    with local_errors(file):
        file.unlink(missing_ok=True)


def _name(place: BlockPath) -> str:
    # A path is longer than a file's name may be.
    return f"{hashlib.sha256(str(place).encode()).hexdigest()[:32]}.json"
