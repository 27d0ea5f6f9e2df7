"""`bt mount` and `bt umount`: thin doors to `btfuse`, which does the mounting and asks for the passphrase itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from btlib.exits import ExitCode

from ..errors import CommandError
from ..options import Json, PassphraseFile, TreePath
from ..output import give, say
from ..session import Session

Mountpoint = Annotated[Path, typer.Argument(metavar="MOUNTPOINT", help="An empty directory.")]


def mount(
    path: TreePath,
    mountpoint: Mountpoint,
    server: Annotated[
        bool, typer.Option("--server", help="Keys here, bytes on the domain's server (end-to-end).")
    ] = False,
    thin: Annotated[bool, typer.Option("--thin", help="With --server: the server holds the keys.")] = False,
    options: Annotated[
        list[str] | None, typer.Option("-o", metavar="OPTION[,…]", help="Options for btfuse, as for mount(8).")
    ] = None,
    foreground: Annotated[bool, typer.Option("-f", "--foreground", help="Stay until it is unmounted.")] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Mount a directory of a domain; returns when it is usable.

    Without --server the store on this machine is used, in the mount's own process.

    Examples:

      bt mount home: ~/tree

      bt mount --server home:/photos /mnt -o ro
    """
    if thin and not server:
        raise CommandError("a thin mount has its keys on a server", hint="add --server")
    Session().home.resolve(path)
    words = [flag for flag, wanted in (("--server", server), ("--thin", thin), ("-f", foreground)) if wanted]
    words += [word for option in options or [] for word in ("-o", option)]
    words += ["--passphrase-file", str(passphrase_file)] if passphrase_file else []
    _btfuse(*words, path, str(mountpoint))
    if json:
        give({"path": path, "mountpoint": str(mountpoint.absolute())})
    elif not foreground:
        say(f"{path} is mounted on {mountpoint}.")


def umount(
    mountpoint: Annotated[Path, typer.Argument(metavar="MOUNTPOINT", help="Where it is mounted.")], json: Json = False
) -> None:
    """Unmount; returns when everything is committed. The mount's process has ended then.

    Example: bt umount ~/tree
    """
    _btfuse("-u", str(mountpoint))
    if json:
        give({"unmounted": str(mountpoint.absolute())})


def _btfuse(*words: str) -> None:
    """Run it in the foreground of this terminal. What it has to say, it says itself; its exit code is ours."""
    status = subprocess.run([sys.executable, "-m", "btfuse", *words], check=False).returncode
    if status != ExitCode.OK:
        raise typer.Exit(status if status > 0 else ExitCode.FAILURE)
