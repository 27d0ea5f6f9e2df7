"""The command line: every command, put together."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from .commands import (
    accept_restore,
    access,
    agent,
    backup,
    compare,
    contact,
    copying,
    df,
    enroll,
    files,
    fsck,
    gc,
    grant,
    group,
    guest,
    init,
    invite,
    join,
    key,
    mounting,
    net,
    protocol,
    ps,
    recover,
    rekey,
    revoke,
    scrub,
    snapshot,
    status,
    transfer,
)

HELP = """One tree of names for files, machines and messages.

A path in a domain is PETNAME:/PATH, as in home:/photos. The passphrase of this machine's keys is asked for, or read
from --passphrase-file or BLOCKTREE_PASSPHRASE, and not needed while bt agent holds the keys. State lies in
BLOCKTREE_HOME, else where XDG says.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 credentials, 4 unreachable, 5 refused, 6 integrity, 7 busy.
"""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bt {importlib.metadata.version('blocktree')}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Takes the options that stand before a command; the work is in their callbacks."""


def build_app() -> typer.Typer:
    """The whole command line, new each time: typer keeps state in it."""
    app = typer.Typer(name="bt", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(_main)
    app.command()(init.init)
    app.command()(recover.recover)
    app.command()(status.status)
    app.command()(files.ls)
    app.command()(files.cat)
    app.command()(copying.cp)
    app.command("import")(transfer.import_tree)
    app.command("export")(transfer.export_tree)
    app.command()(files.mkdir)
    app.command()(files.rm)
    app.command()(mounting.mount)
    app.command()(mounting.umount)
    app.command()(grant.grant)
    app.command()(revoke.revoke)
    app.command()(rekey.rekey)
    app.command()(compare.compare)
    app.command()(scrub.scrub)
    app.command()(df.df)
    app.command()(fsck.fsck)
    app.command()(gc.gc)
    app.command()(backup.backup)
    app.command()(backup.restore)
    app.command()(accept_restore.accept_restore)
    app.command()(ps.ps)
    app.command()(invite.invite)
    app.command()(join.join)
    app.add_typer(snapshot.build(), name="snapshot")
    app.add_typer(enroll.build(), name="enroll")
    app.add_typer(access.build(), name="access")
    app.add_typer(group.build(), name="group")
    app.add_typer(contact.build(), name="contact")
    app.add_typer(guest.build(), name="guest")
    app.add_typer(key.build(), name="key")
    app.add_typer(agent.build(), name="agent")
    app.add_typer(net.build(), name="net")
    app.add_typer(protocol.build(), name="protocol")
    return app
