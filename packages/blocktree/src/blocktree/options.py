"""Options and arguments that several commands share, with their completion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from btlib.errors import BlocktreeError
from btlib.home import Home

TREE_PATH = "PETNAME:/PATH"


def complete_tree_path(incomplete: str) -> Iterator[str]:
    """Petnames with their colon. Names inside a domain would need a passphrase, and completion must not ask for one."""
    try:
        petnames = Home.find(os.environ).petnames()
    except BlocktreeError:
        return
    yield from (f"{petname}:" for petname in petnames if f"{petname}:".startswith(incomplete))


def complete_petname(incomplete: str) -> Iterator[str]:
    try:
        petnames = Home.find(os.environ).petnames()
    except BlocktreeError:
        return
    yield from (petname for petname in petnames if petname.startswith(incomplete))


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Read the passphrase from the first line of FILE (mode 0600) instead of asking. "
        "BLOCKTREE_PASSPHRASE works too.",
    ),
]
WordsFile = Annotated[
    Path | None,
    typer.Option(
        "--words-file",
        metavar="FILE",
        help="Read the recovery words from the first line of FILE (mode 0600) instead of asking.",
    ),
]
Shares = Annotated[bool, typer.Option("--shares", help="Take shares in place of words; they are asked for.")]
ShareFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--share-file",
        metavar="FILE",
        help="Read a share from the first line of FILE (mode 0600); once for each share.",
    ),
]
SuiteName = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="SUITE",
        help="Algorithms of the new keys: ed25519-x25519 (the default), p256 (the default in a TPM), "
        "or hybrid-pq (post-quantum).",
    ),
]
Tpm = Annotated[bool, typer.Option("--tpm", help="Keep the new keys in this machine's TPM 2.0.")]
Tcti = Annotated[
    str | None,
    typer.Option(
        metavar="TCTI",
        help="The same, and how the TPM is reached: device:/dev/tpmrm0 (the default), swtpm:host=…,port=…. "
        "BLOCKTREE_TCTI works too.",
    ),
]
Pcrs = Annotated[
    list[int] | None,
    typer.Option(
        "--pcr",
        min=0,
        max=23,
        metavar="N",
        help="The same, and bind the machine's keys to register N of the TPM (7: secure boot); once for each.",
    ),
]
TreePath = Annotated[
    str,
    typer.Argument(metavar=TREE_PATH, help="A path in a domain; /bt1…/PATH too.", autocompletion=complete_tree_path),
]
TreePaths = Annotated[
    list[str],
    typer.Argument(metavar=TREE_PATH, help="Paths in one domain.", autocompletion=complete_tree_path),
]
Petname = Annotated[
    str, typer.Argument(metavar="PETNAME", help="Your own short name for the domain.", autocompletion=complete_petname)
]
DomainName = Annotated[
    str | None,
    typer.Option(
        "--domain",
        metavar="PETNAME",
        help="Which domain, where there are several.",
        autocompletion=complete_petname,
    ),
]
OwnHost = Annotated[
    str | None, typer.Option("--host", metavar="NAME", help="This machine's name in the domain; else its host name.")
]
OwnServer = Annotated[
    str | None, typer.Option("--server", metavar="HOST:PORT", help="Reach the domain's btfsd here instead.")
]
TheirServer = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", help="Where the new machine will reach the domain's btfsd."),
]
Until = Annotated[str, typer.Option("--until", metavar="DATE", help="How long: a date, or 90d, 2w, 1y.")]
Fingerprint = Annotated[
    str | None,
    typer.Option(
        "--fingerprint",
        metavar="bt1…",
        help="The fingerprint that it must have; answers the question for a script.",
    ),
]
RootPrincipal = Annotated[
    str | None,
    typer.Option("--root", metavar="bt1…", help="The root that it must be of; answers the question for a script."),
]
Compared = Annotated[bool, typer.Option("--yes", help="The fingerprint was compared already; do not ask.")]
