"""Mount options: the `-o` of a command line or of a line in fstab, as values. Pure.

Three sorts: ours, which are documented in docs/btfuse.md; those of mount(8), which are honoured, or passed over because
they are mount's own business or hold anyway (`nosuid`, `nodev`); and the rest, which is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from btfproto.opening import FOR_EVER, Staleness
from btlib.kinds import Kind

from ._binding import CHOICES
from ._context import Symlinks
from ._errors import FuseError

FSNAME_LIMIT = 1024  #: characters of the source that findmnt shows; mount data has one page in all
SECONDS_LIMIT = 3600  #: who means longer means for ever
_AGE = re.compile(r"([0-9]{1,5})([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
DEFAULT_STALENESS = Staleness()
THREADS_LIMIT = 64  #: more would only wait for each other

#: Options of mount(8) and fstab(5) that ask nothing of a file system. `suid` and `dev` among them: they are what mount
#: adds for root unless told otherwise, and are never granted.
_TEXT = """
rw defaults auto noauto user nouser users group owner suid nosuid dev nodev exec async sync dirsync nofail _netdev
relatime norelatime atime diratime strictatime nostrictatime lazytime nolazytime
"""
PASSED_OVER = frozenset(_TEXT.split())
_PASSED_OVER_PREFIXES = ("x-", "X-", "comment=", "user=", "uhelper=")
#: Options of mount(8) that the kernel takes.
_KERNEL = frozenset({"ro", "noexec", "noatime", "nodiratime"})
_ALWAYS = ("nosuid", "nodev")


@dataclass(frozen=True, kw_only=True)
class MountOptions:
    """What `-o` said. None means: the default of the mode."""

    server: bool = False  #: the bytes lie on the domain's server
    endpoint: str | None = None  #: where it listens, instead of what the domain says
    thin: bool = False  #: the keys do as well
    binding: str | None = None
    symlinks: Symlinks | None = None
    allow_other: bool = False
    default_permissions: bool = False
    nonempty: bool = False
    write_back: bool = False
    lazy_close: bool = False
    threads: int | None = None
    commit_seconds: float | None = None
    patience: float | None = None  #: seconds for which calls wait for a server that is away; FOR_EVER
    staleness: Staleness = DEFAULT_STALENESS  #: how old may be what is known of revocations
    home: Path | None = None
    passphrase_file: Path | None = None
    log_file: Path | None = None
    kernel: tuple[str, ...] = field(default=())

    @property
    def read_only(self) -> bool:
        return "ro" in self.kernel

    def for_kernel(self, source: str, *, major: int, uid: int) -> list[str]:
        """What libfuse is given where this user mounts."""
        options = [f"fsname={_escape(source[:FSNAME_LIMIT])}", "subtype=btfuse", *_ALWAYS, *self.kernel]
        if self.allow_other:
            options.append("allow_other")
        if self.allow_other or self.default_permissions or uid != 0:  # what root alone enters needs no judge (ADR 15)
            options.append("default_permissions")
        if self.nonempty and major == 2:
            options.append("nonempty")
        return options


def parse_options(texts: Iterable[str], options: MountOptions | None = None) -> MountOptions:
    """Read the values of `-o`, in order; a later one wins. Raises FuseError for what is unknown or no value."""
    parsed = options or MountOptions()
    for text in texts:
        for word in split_options(text):
            parsed = _apply(parsed, word)
    if parsed.thin and not parsed.server:
        raise FuseError(
            "thin asks for a server that holds the keys",
            kind=Kind.INVALID,
            hint="use: --server --thin, or -o server,thin",
        )
    return parsed


def split_options(text: str) -> list[str]:
    r"""Split at commas; `\,` is a comma in a value, and `\\` a backslash."""
    words, word, characters = [], "", iter(text)
    for character in characters:
        if character == "\\":
            word += next(characters, "")
        elif character == ",":
            words.append(word)
            word = ""
        else:
            word += character
    words.append(word)
    return [word for word in words if word]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


def _apply(options: MountOptions, word: str) -> MountOptions:
    if word in PASSED_OVER or word.startswith(_PASSED_OVER_PREFIXES):
        return options
    if word in _KERNEL:
        return replace(options, kernel=(*options.kernel, word))
    name, equals, value = word.partition("=")
    if not equals and name in _FLAGS:
        return _FLAGS[name](options)
    if equals and value and name in _VALUES:
        return _VALUES[name](options, value)
    if name in _VALUES:
        raise FuseError(f"the option {name} needs a value", kind=Kind.INVALID, hint=f"write: -o {name}=VALUE")
    raise FuseError(f"there is no mount option {word!r}", kind=Kind.INVALID, hint="see: btfuse --help")


_FLAGS: dict[str, Callable[[MountOptions], MountOptions]] = {
    "server": lambda options: replace(options, server=True),
    "thin": lambda options: replace(options, thin=True),
    "allow_other": lambda options: replace(options, allow_other=True),
    "default_permissions": lambda options: replace(options, default_permissions=True),
    "nonempty": lambda options: replace(options, nonempty=True),
    "writeback": lambda options: replace(options, write_back=True),
    "hard": lambda options: replace(options, patience=FOR_EVER),
    "lazy_close": lambda options: replace(options, lazy_close=True),
    "unsafe_symlinks": lambda options: replace(options, symlinks=Symlinks.AS_WRITTEN),
}


def _server(options: MountOptions, value: str) -> MountOptions:
    return replace(options, server=True, endpoint=value)


def _binding(options: MountOptions, value: str) -> MountOptions:
    if value not in CHOICES:
        raise _no_value("binding", value, ", ".join(CHOICES))
    return replace(options, binding=value)


def _symlinks(options: MountOptions, value: str) -> MountOptions:
    try:
        return replace(options, symlinks=Symlinks(value))
    except ValueError:
        raise _no_value("symlinks", value, ", ".join(policy.value for policy in Symlinks)) from None


def _threads(options: MountOptions, value: str) -> MountOptions:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= THREADS_LIMIT:
        raise _no_value("threads", value, f"1 to {THREADS_LIMIT}")
    return replace(options, threads=int(value))


def _commit(options: MountOptions, value: str) -> MountOptions:
    return replace(options, commit_seconds=_seconds("commit", value))


def _soft(options: MountOptions, value: str) -> MountOptions:
    return replace(options, patience=_seconds("soft", value))


def _stale_warn(options: MountOptions, value: str) -> MountOptions:
    return replace(options, staleness=Staleness(warn=_age("stale_warn", value), refuse=options.staleness.refuse))


def _stale_refuse(options: MountOptions, value: str) -> MountOptions:
    return replace(options, staleness=Staleness(warn=options.staleness.warn, refuse=_age("stale_refuse", value)))


def _age(name: str, value: str) -> float:
    found = _AGE.fullmatch(value)
    if found is None:
        raise _no_value(name, value, "a time like 90m, 12h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= SECONDS_LIMIT:
        raise _no_value(name, value, f"seconds, up to {SECONDS_LIMIT}")
    return seconds


def _home(options: MountOptions, value: str) -> MountOptions:
    return replace(options, home=_path("home", value))


def _passphrase_file(options: MountOptions, value: str) -> MountOptions:
    return replace(options, passphrase_file=_path("passphrase_file", value))


def _log_file(options: MountOptions, value: str) -> MountOptions:
    return replace(options, log_file=_path("log", value))


def _path(name: str, value: str) -> Path:
    # In fstab there is no directory that a relative path could mean.
    if not value.startswith("/"):
        raise _no_value(name, value, "an absolute path")
    return Path(value)


_VALUES = {
    "server": _server,
    "binding": _binding,
    "symlinks": _symlinks,
    "threads": _threads,
    "commit": _commit,
    "soft": _soft,
    "stale_warn": _stale_warn,
    "stale_refuse": _stale_refuse,
    "home": _home,
    "passphrase_file": _passphrase_file,
    "log": _log_file,
}


def _no_value(name: str, value: str, allowed: str) -> FuseError:
    return FuseError(f"{value!r} is no value of the mount option {name}", kind=Kind.INVALID, hint=f"use: {allowed}")
