"""`bt init`: make a domain. A root principal, this machine's credentials, a store with an empty root directory."""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from btfproto.domain import create_domain
from btfproto.localfs import empty_directory_attributes
from btfproto.store import EmbeddedStore
from btlib.credentials import Credentials
from btlib.errors import BlocktreeError, PathError
from btlib.home import Domain, DomainSettings, make_private_directory, tcti_of
from btlib.identity import Identity
from btlib.paths import check_name
from btlib.public_keys import PublicKeys
from btlib.words import seed_to_words
from btlib.writecaps import Chain

from ..asking import at_terminal, new_passphrase
from ..errors import CommandError
from ..files.copying import Report
from ..key_places import KeyPlace, place_text
from ..options import Json, OwnHost, PassphraseFile, Pcrs, Petname, SuiteName, Tcti, Tpm
from ..output import give, human_size, remark, say
from ..recovery_words import ask_back, numbered_lines
from ..session import Session, now, own
from .copying import copy_domain, end_with_failure, show_left_out

STORE = Path("store")


def init(
    petname: Petname = "home",
    host: OwnHost = None,
    store: Annotated[
        Path | None, typer.Option(metavar="DIRECTORY", help="Where the encrypted bytes go; else into the home.")
    ] = None,
    suite: SuiteName = None,
    tpm: Tpm = False,
    tcti: Tcti = None,
    pcr: Pcrs = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="PETNAME", help="Copy all files of this domain, which stays, into the new one."),
    ] = None,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Ask nothing: no recovery words are shown or typed back.")
    ] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a domain of your own on this machine.

    It prints 24 recovery words: whoever has them is the root of the domain, on paper and without this machine. A few
    of them are asked back. The root's keys also lie here, in the file root-credentials, under the same passphrase;
    move that file to a safe place if this machine is not one. With --tpm, the keys are in the TPM, and the files are
    worth nothing on any other machine; the words still are.

    A domain is named by its root's keys, so its suite is for ever. With --from, a new domain of another suite, or with
    keys that nobody has seen, begins with the files of an old one. Grants and other machines do not come along.

    Examples:

      bt init

      bt init --tpm

      bt init new --suite hybrid-pq --from home

      bt init work --host nas --store /srv/work --no-input --passphrase-file ~/secret
    """
    session = Session(passphrase_file)
    place = KeyPlace.chosen(session.home, tpm=tpm, tcti=tcti, pcrs=pcr)
    chosen = place.suite(suite)
    name = _host_name(host)
    old = None if source is None else session.home.domain(source)
    if old is not None:
        session.unlock(old)
    pending = session.home.begin(petname)
    root = Credentials.generate(chosen)
    settings = DomainSettings(root=root.public.principal, host=name, store=store.absolute() if store else STORE)
    domain = session.home.pending_domain(petname, settings)
    with _undone_on_failure(pending, domain):
        root_store = place.root(domain.root_credentials_file, chosen)
        machine_store = place.machine(domain.credentials_file)
        secret = new_passphrase(f"the domain {petname}", passphrase_file)
        machine = machine_store.generate(chosen, secret)
        if not no_input:
            _hand_over_words(root)
        root_store.save(root, secret)
        identity = machine_store.add_chains(secret, _make_tree(domain, root, machine))
        made = session.home.admit(domain)
    report = Report()
    if old is not None:
        session.hold(made, identity)
        report = _copied(session, old, made)
    _show(made, identity, report, as_json=json)
    end_with_failure(report)


def _copied(session: Session, old: Domain, made: Domain) -> Report:
    try:
        report = copy_domain(session, old, made)
    except BlocktreeError as error:
        raise CommandError(
            f"the domain {made.petname} is made, but the files of {old.petname} were not all copied: {error.message}",
            kind=error.kind,
            hint=f"copy the rest with bt cp -r, or begin again: rm -r {made.directory} {made.data}",
        ) from error
    show_left_out(report)
    return report


def _make_tree(domain: Domain, root: Credentials, machine: PublicKeys) -> Chain:
    """Write the domain's first blocks, with a root directory of the user's own; gives the machine's chain."""
    directory = domain.store or domain.data / STORE
    make_private_directory(directory)
    store = EmbeddedStore(directory, program="bt init")
    try:
        made = create_domain(
            store,
            root.identity().signer,
            machine,
            now=now(),
            random=secrets.token_bytes,
            directory_attributes=partial(empty_directory_attributes, owner=own()),
        )
    finally:
        store.close()
    return made.chain


def _host_name(given: str | None) -> str:
    name = given or socket.gethostname().partition(".")[0]
    try:
        return check_name(name)
    except PathError as error:
        raise CommandError(f"this machine's name is no name in a tree: {error}", hint="give one with --host") from error


@contextmanager
def _undone_on_failure(pending: Path, domain: Domain) -> Iterator[None]:
    """Leave nothing half made: neither keys nor a store that nobody has keys for."""
    store = domain.store
    fresh = store is not None and not store.exists()
    try:
        yield
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        if fresh and store is not None:
            shutil.rmtree(store, ignore_errors=True)
        raise


def _hand_over_words(root: Credentials) -> None:
    if not at_terminal():
        raise CommandError(
            "the recovery words can only be shown and typed back at a terminal", hint="use --no-input to go without"
        )
    words = seed_to_words(root.seed)
    remark("These words are the root of your domain. Write them on paper, in order, and show them to nobody:\n")
    for line in numbered_lines(words):
        remark(line)
    ask_back(words, hint="begin again: bt init")
    remark("Good. They are not shown again.\n")


def _show(domain: Domain, machine: Identity, copied: Report, *, as_json: bool) -> None:
    tcti = tcti_of(domain.credentials_file, domain.tcti)
    if as_json:
        give(
            {
                "petname": domain.petname,
                "root": str(domain.root),
                "host": domain.host,
                "principal": str(machine.principal),
                "store": str(domain.store),
                "tpm": tcti,
                "root_credentials": str(domain.root_credentials_file),
                "copied": {"files": copied.files, "bytes": copied.bytes, "failures": len(copied.failures)},
            }
        )
        return
    say(f"The domain {domain.petname} is made.")
    say(f"  root      {domain.root}")
    say(f"  machine   {machine.principal}  ({domain.host})")
    say(f"  store     {domain.store}")
    say(f"  keys      {place_text(domain.credentials_file, tcti)}")
    if copied.files or copied.directories:
        say(f"  copied    {copied.files} files, {human_size(copied.bytes)}")
    say(f"Next: bt cp -r DIRECTORY {domain.petname}:/   or   bt mount {domain.petname}: MOUNTPOINT")
