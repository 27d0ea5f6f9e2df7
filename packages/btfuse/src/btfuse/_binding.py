"""The FUSE library: the only module that imports it, and only to mount.

libfuse is found and loaded by `mfusepy` (libfuse 3) where that is installed, else by `fusepy` (libfuse 2); both give
the loaded library as `_libfuse`. From it we take the mount itself, with its options, `fusermount` for users who are
not root, and the descriptor of `/dev/fuse`. The requests that come from there we answer ourselves (`_session`): the
callbacks of fusepy know an object only by a path, which cannot express hard links, files that were unlinked while
open, or exact invalidation, and cost two more requests a write. See docs/adr/0007-the-kernels-fuse-protocol.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

from btlib.kinds import Kind

from ._errors import FuseError

VARIABLE = "BTFUSE_BINDING"
_LIBRARY_VARIABLE = "FUSE_LIBRARY_PATH"  #: where both modules look first
#: Choice → its major version of libfuse, the names of that library, the Debian package.
_CHOICES = {
    "mfusepy": (3, ("libfuse3.so.4", "libfuse3.so.3"), "libfuse3-3"),
    "fusepy": (2, ("libfuse.so.2",), "libfuse2"),
}
CHOICES = ("auto", *_CHOICES)
_AUTO = ("mfusepy", "fusepy")
_INSTALL = "install one of them: apt-get install fuse3 (with pip install 'btfuse[fuse3]'), or apt-get install libfuse2"


class _Arguments(ctypes.Structure):
    """`struct fuse_args`, the same in both versions."""

    _fields_ = (("argc", ctypes.c_int), ("argv", ctypes.POINTER(ctypes.c_char_p)), ("allocated", ctypes.c_int))


@dataclass(frozen=True)
class Binding:
    """A loaded libfuse."""

    name: str
    major: int
    library: ctypes.CDLL

    @property
    def version(self) -> str:
        number = int(self.library.fuse_version())
        return f"{number // 10}.{number % 10}" if number < 100 else f"{number // 100}.{number % 100}"

    def mount(self, mountpoint: str, options: Sequence[str]) -> int:
        """Mount, and give the descriptor on which requests arrive. Raises FuseError with libfuse's words."""
        words = [b"btfuse", b"-o", ",".join(options).encode()]
        argv = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        arguments = _Arguments(len(words), argv, 0)
        mount = self._mount3 if self.major == 3 else self._mount2
        with _captured_stderr() as said:
            descriptor = mount(os.fsencode(mountpoint), arguments)
        if descriptor < 0:
            raise FuseError(
                f"libfuse cannot mount {mountpoint}: {'; '.join(said) or 'it gave no reason'}",
                kind=Kind.IO,
                hint="see: docs/btfuse.md, Errors",
            )
        return descriptor

    def _mount2(self, mountpoint: bytes, arguments: _Arguments) -> int:
        library = self.library
        library.fuse_mount.restype = ctypes.c_void_p
        library.fuse_mount.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
        library.fuse_chan_fd.argtypes = (ctypes.c_void_p,)
        channel = library.fuse_mount(mountpoint, ctypes.byref(arguments))
        return int(library.fuse_chan_fd(channel)) if channel else -1

    def _mount3(self, mountpoint: bytes, arguments: _Arguments) -> int:
        library = self.library
        library.fuse_session_new.restype = ctypes.c_void_p
        library.fuse_session_new.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        library.fuse_session_mount.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        library.fuse_session_fd.argtypes = (ctypes.c_void_p,)
        # libfuse wants a table of operations; it is never called, because its loop never runs.
        operations = ctypes.create_string_buffer(8)
        session = library.fuse_session_new(ctypes.byref(arguments), operations, 0, None)
        if not session or library.fuse_session_mount(session, mountpoint) != 0:
            return -1
        return int(library.fuse_session_fd(session))


def load_binding(choice: str = "auto") -> Binding:
    """The library of the choice, or the best there is. Raises FuseError that names what to install."""
    if choice not in CHOICES:
        raise FuseError(f"{choice!r} is no FUSE binding: choose one of {', '.join(CHOICES)}", kind=Kind.INVALID)
    failures = []
    for name in _AUTO if choice == "auto" else (choice,):
        try:
            return _load(name)
        except (ImportError, OSError) as error:
            failures.append(f"{name}: {error}")
    raise FuseError(f"no FUSE library can be loaded ({'; '.join(failures)})", kind=Kind.NOT_SUPPORTED, hint=_INSTALL)


def _load(name: str) -> Binding:
    major, libraries, package = _CHOICES[name]
    with _library_path(libraries, package):
        module = _import_mfusepy() if name == "mfusepy" else _import_fusepy()
    library = getattr(module, "_libfuse", None)
    if not isinstance(library, ctypes.CDLL):
        raise ImportError(f"the module {module.__name__} is not {name}")
    binding = Binding(name, major, library)
    if not binding.version.startswith(f"{major}."):
        raise ImportError(f"{name} found libfuse {binding.version}, not {major}")
    return binding


def _import_mfusepy() -> ModuleType:
    import mfusepy

    return mfusepy  # type: ignore[no-any-return]


def _import_fusepy() -> ModuleType:
    import fuse

    return fuse  # type: ignore[no-any-return]


@contextlib.contextmanager
def _library_path(names: Sequence[str], package: str) -> Iterator[None]:
    # Both modules would search with ldconfig and gcc, which takes long and needs a PATH; mfusepy would find libfuse 2
    # first. An explicit setting of the user stays.
    if os.environ.get(_LIBRARY_VARIABLE):
        yield
        return
    os.environ[_LIBRARY_VARIABLE] = _first_loadable(names, package)
    try:
        yield
    finally:
        del os.environ[_LIBRARY_VARIABLE]


def _first_loadable(names: Sequence[str], package: str) -> str:
    for name in names:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return name
    raise OSError(f"{names[-1]} is not installed (Debian package {package})")


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """What is written to standard error meanwhile, as lines: libfuse and fusermount explain a failure only there."""
    saved = os.dup(2)
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            lines += [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
