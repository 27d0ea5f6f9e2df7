"""The command line: `btfsd` serves, `btfsd config check` and `btfsd config show` speak about the configuration."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from btlib.errors import BlocktreeError
from btlib.exits import ExitCode, exit_code
from btlib.hardening import forbid_dumps
from btlib.memory import collect_seldom, keep_memory
from bttp.tapping import tap_from_environment

from . import __version__
from ._configuration import Configuration, Key, dotted, known_keys, load_configuration
from ._daemon import run_daemon
from ._host import find_domain, unlock
from ._logs import start_logging
from .errors import ConfigurationError

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Else $BTFSD_CONFIG, or /etc/blocktree/btfsd.toml."),
]
Listen = Annotated[
    list[str] | None,
    typer.Option("--listen", metavar="HOST:PORT", help="Where to listen, beside the Unix socket; may be repeated."),
]
DomainName = Annotated[
    str | None, typer.Option("--domain", metavar="PETNAME", help="Which domain to serve, where there are several.")
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Whose first line unlocks the credentials.")
]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")]

DEBUG_VARIABLE = "BLOCKTREE_DEBUG"  #: shows tracebacks, as in `bt`

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
config_app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    config: ConfigFile = None,
    listen: Listen = None,
    domain: DomainName = None,
    passphrase_file: PassphraseFile = None,
    log_json: LogJson = False,
    version: Annotated[bool, typer.Option("--version", help="Say the version and exit.")] = False,
) -> None:
    """Serve the store of a domain, in the foreground, until SIGTERM or SIGINT.

    End-to-end clients keep their keys and use the store; thin clients use files that this server opens for them. The
    passphrase comes from the file, a systemd credential, BLOCKTREE_PASSPHRASE or the terminal.
    """
    if version:
        typer.echo(f"btfsd {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    options: dict[Key, object] = {}
    if listen:
        options["listen",] = listen
    if domain is not None:
        options["domain",] = domain
    if passphrase_file is not None:
        options["passphrase_file",] = str(passphrase_file.absolute())
    if log_json:
        options["log", "json"] = True
    settings = load_configuration(config, os.environ, options).settings
    start_logging(settings.log.level, as_json=settings.log.json, environ=os.environ)
    tap_from_environment(os.environ)
    forbid_dumps()
    keep_memory()
    collect_seldom()
    run_daemon(settings, unlock(settings, os.environ), os.environ)


@config_app.command()
def check(context: typer.Context, config: ConfigFile = None) -> None:
    """Check file and environment; every problem is a line that names its key. Exit code 2 if there is one."""
    loaded = load_configuration(config or context.obj, os.environ)
    domain = find_domain(loaded.settings, os.environ)
    where = loaded.file or "no file"
    typer.echo(f"{where}: good; it serves the domain {domain.petname} ({domain.root}) from {domain.store}")


@config_app.command()
def show(
    context: typer.Context,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Print the settings in force, as TOML, with where each comes from."""
    loaded = load_configuration(config or context.obj, os.environ)
    if as_json:
        typer.echo(msgspec.json.encode(loaded.settings).decode())
    else:
        typer.echo(_toml(loaded))


def _toml(loaded: Configuration) -> str:
    lines: list[str] = []
    table = ""
    for key, info in known_keys().items():
        if len(key) > 1 and key[0] != table:
            table = key[0]
            lines.append(f"\n[{table}]")
        holder = loaded.settings if len(key) == 1 else getattr(loaded.settings, key[0])
        value = getattr(holder, key[-1])
        source = loaded.sources.get(key, "default")
        text = f"{key[-1]} = {_toml_value(value)}"
        lines.append(f"# {text.split(' = ')[0]} is not set" if value is None else f"{text}  # {source}")
        assert info is not None, dotted(key)
    return "\n".join(lines)


def _toml_value(value: object) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def run(arguments: list[str]) -> int:
    """One run of the program: its exit code. An error is a sentence on standard error, never a traceback."""
    try:
        app(args=arguments, prog_name="btfsd", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.FAILURE
    except BlocktreeError as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _complain(error)
        return exit_code(error.kind)
    except Exception as error:
        # The last resort of a process: a defect is said to be one, and not shown as if the user could help.
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _complain(_defect(error))
        return ExitCode.FAILURE
    return ExitCode.OK


def _defect(error: Exception) -> BlocktreeError:
    return BlocktreeError(
        f"a defect in btfsd: {type(error).__name__}: {error}",
        hint=f"run it again with {DEBUG_VARIABLE}=1 and report the traceback",
    )


def _complain(error: BlocktreeError) -> None:
    lines = error.problems if isinstance(error, ConfigurationError) else (error.message,)
    for line in lines:
        print(f"btfsd: {line}", file=sys.stderr)
    if error.hint:
        print(f"btfsd: {error.hint}", file=sys.stderr)
