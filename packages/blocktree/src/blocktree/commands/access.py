"""`bt access`: who can do what at a path, why or why not, and what was given and taken back."""

from __future__ import annotations

import typer

from .access_explain import explain
from .access_list import list_access
from .access_log import log


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help="Who may do what, why or why not, and since when.", no_args_is_help=True)
    app.command("list")(list_access)
    app.command()(explain)
    app.command()(log)
    return app
