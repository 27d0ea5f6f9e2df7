"""The command line, in two shapes: a user's, and that of a helper of mount(8).

    btfuse [options] SOURCE MOUNTPOINT                             a user
    mount.fuse.btfuse SOURCE MOUNTPOINT [-sfnv] [-o OPT] [-t TYPE]  mount(8): -f is "fake" there, -s "sloppy"
    mount.fuse → btfuse SOURCE MOUNTPOINT -o OPT                    mount(8) through fuse3's helper: like a user

Reads only its arguments; argparse itself ends the process on `--help` and on usage errors (exit code 2).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path, PurePath

from ._options import MountOptions, parse_options

_HELPER_PREFIX = "mount."

_OPTIONS_HELP = """\
mount options (-o, comma-separated; all in docs/btfuse.md):
  server[=ENDPOINT]         the bytes lie on a server, the keys stay here (end-to-end)
  thin                      with server: the server holds the keys as well
  ro                        no changes
  allow_other               other users of this machine may use the mount
  symlinks=POLICY           contained (with a server), or as-written (alone)
  passphrase_file=FILE      where the passphrase is read from
  home=DIR                  instead of BLOCKTREE_HOME
  commit=SECONDS            how much work a crash may cost where nobody calls fsync
  binding=NAME              auto, mfusepy (libfuse 3) or fusepy (libfuse 2)
  soft=SECONDS, hard        with server: how long programs wait for one that is away (10)
  stale_warn=, stale_refuse=TIME   thin: how old may be what is known of revocations (1d, 30d)
  lazy_close                with server: a close does not wait for it
  threads=N, writeback, nonempty, log=FILE

exit codes:
  0 mounted (with -f: and unmounted)   1 failure   2 usage   3 passphrase or identity
  4 server unreachable   5 refused: no capability   6 integrity   7 busy
"""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What a command line asks for."""

    mountpoint: str
    source: str = ""
    options: MountOptions
    foreground: bool = False
    debug: bool = False
    unmount: bool = False
    fake: bool = False  #: mount --fake: everything but the mount


def parse_arguments(program: str, words: Sequence[str]) -> Arguments:
    """`program` is `argv[0]`: under the name of a mount helper the words mean what mount(8) means by them."""
    if PurePath(program).name.startswith(_HELPER_PREFIX):
        return _parse_helper(words)
    return _parse_user(words)


def _parse_user(words: Sequence[str]) -> Arguments:
    parser = _user_parser()
    given = parser.parse_args(words)
    if given.unmount:
        if given.mountpoint is not None:
            parser.error("-u takes a mount point alone")
        return Arguments(mountpoint=given.source, options=MountOptions(), debug=given.debug, unmount=True)
    if given.mountpoint is None:
        parser.error("a MOUNTPOINT is missing")
    switches = [word for word, on in (("server", given.server), ("thin", given.thin)) if on]
    options = parse_options([*given.options, *switches])
    if given.passphrase_file is not None:
        options = replace(options, passphrase_file=Path(given.passphrase_file).absolute())
    return Arguments(
        source=given.source,
        mountpoint=given.mountpoint,
        options=options,
        foreground=given.foreground or given.debug,
        debug=given.debug,
    )


def _user_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="btfuse",
        usage="btfuse [-f] [-o OPT[,OPT…]]… [--server [--thin]] SOURCE MOUNTPOINT\n       btfuse -u MOUNTPOINT",
        description="Mount a part of a blocktree: SOURCE is PETNAME:/PATH or /bt1…/PATH.",
        epilog=_OPTIONS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SOURCE", help=argparse.SUPPRESS)
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("-f", "--foreground", action="store_true", help="stay in the foreground, log to standard error")
    parser.add_argument("-d", "--debug", action="store_true", help="like -f, and log more")
    parser.add_argument("-o", dest="options", metavar="OPT", action="append", default=[], help="mount options, below")
    parser.add_argument("--server", action="store_true", help="the bytes lie on the domain's server")
    parser.add_argument("--thin", action="store_true", help="with --server: it holds the keys as well")
    parser.add_argument("--passphrase-file", metavar="FILE", help="read the passphrase from FILE")
    parser.add_argument("-u", "--unmount", action="store_true", help="unmount, and wait until everything is committed")
    parser.add_argument("-V", "--version", action="version", version=f"btfuse {version('btfuse')}")
    return parser


def _parse_helper(words: Sequence[str]) -> Arguments:
    parser = argparse.ArgumentParser(prog="mount.fuse.btfuse", add_help=False, allow_abbrev=False)
    parser.add_argument("source")
    parser.add_argument("mountpoint")
    parser.add_argument("-f", dest="fake", action="store_true")
    parser.add_argument("-s", dest="sloppy", action="store_true")
    parser.add_argument("-n", dest="no_mtab", action="store_true")
    parser.add_argument("-v", dest="verbose", action="store_true")
    parser.add_argument("-r", dest="read_only", action="store_true")
    parser.add_argument("-w", dest="writable", action="store_true")
    parser.add_argument("-o", dest="options", action="append", default=[])
    parser.add_argument("-t", dest="type")
    parser.add_argument("-N", dest="namespace")
    given = parser.parse_intermixed_args(words)
    options = parse_options([*given.options, *(["ro"] if given.read_only else [])])
    return Arguments(source=given.source, mountpoint=given.mountpoint, options=options, fake=given.fake)
