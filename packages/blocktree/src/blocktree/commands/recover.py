"""`bt recover`: a domain from its recovery words, on a new machine, with a store that survived."""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from btfproto.domain import find_root, recover_domain
from btfproto.opening import store_at
from btfproto.store import EmbeddedStore, Store
from btlib.credentials import Credentials
from btlib.errors import BlocktreeError
from btlib.home import HOSTS, SERVER_NAME, Domain, DomainSettings, Home
from btlib.kinds import Kind
from btlib.paths import BlockPath, check_name
from btlib.principals import Principal

from ..asking import new_passphrase
from ..errors import CommandError
from ..key_places import KeyPlace
from ..options import Json, OwnHost, PassphraseFile, Pcrs, Petname, ShareFiles, Shares, Tcti, Tpm, WordsFile
from ..output import give, say
from ..recovery_shares import take_backup
from ..recovery_words import roots_of
from ..session import PATIENCE, Session, now

PROGRAM = "bt recover"
NOT_OURS = (Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.NOT_FOUND)  #: how a server says that these keys are not its root


@dataclass(frozen=True, kw_only=True)
class Survivor:
    """What is left of the domain: a store's directory here, or a server and its name in the domain."""

    store: Path | None
    server: str | None
    server_host: str | None

    def check(self) -> None:
        """Raises CommandError where it is not exactly one, or no store; before anybody types 24 words."""
        if (self.store is None) == (self.server is None):
            raise CommandError("a domain is recovered from one place", hint="use --store DIRECTORY, or --server")
        if (self.server is None) != (self.server_host is None):
            raise CommandError(
                "--server and --server-host belong together",
                hint="name the server's machine as it was called in the domain: --server-host NAME",
            )
        if self.server_host is not None:
            check_name(self.server_host)
        if self.store is not None and not (self.store / "index.sqlite").is_file():
            raise CommandError(
                f"{self.store} is no store: it has no index.sqlite",
                kind=Kind.NOT_FOUND,
                hint="give the directory that held the domain's bytes, or a whole copy of it",
            )

    def server_path(self, root: Principal) -> BlockPath | None:
        if self.server_host is None:
            return None
        return BlockPath(root, (HOSTS, self.server_host, SERVER_NAME))

    @contextmanager
    def opened(self, candidates: Sequence[Credentials]) -> Iterator[tuple[Store, Credentials]]:
        """The store, and which of the candidates is the root of its domain."""
        store, root = self._open_here(candidates) if self.server is None else self._open_there(candidates)
        try:
            yield store, root
        finally:
            store.close()

    def _open_here(self, candidates: Sequence[Credentials]) -> tuple[Store, Credentials]:
        assert self.store is not None
        store = EmbeddedStore(self.store, program=PROGRAM)
        try:
            return store, _chosen(store, candidates)
        except BaseException:
            store.close()
            raise

    def _open_there(self, candidates: Sequence[Credentials]) -> tuple[Store, Credentials]:
        """A link proves the keys of a root; so there is one for each candidate, until one is believed."""
        refusals: list[str] = []
        for candidate in candidates:
            try:
                return self._dial(candidate), candidate
            except BlocktreeError as error:
                if error.kind not in NOT_OURS:
                    raise
                refusals.append(error.message)
        raise CommandError(
            f"the server at {self.server} is not one of the domain of these words: {'; '.join(refusals)}",
            kind=Kind.UNAUTHENTICATED,
            hint="use the words of that domain, or the server of this one; check --server-host",
        )

    def _dial(self, candidate: Credentials) -> Store:
        path = self.server_path(candidate.public.principal)
        assert self.server is not None
        assert path is not None
        store = store_at(self.server, candidate.identity(), path, patience=PATIENCE)
        try:
            _chosen(store, [candidate])
        except BaseException:
            store.close()
            raise
        return store


def recover(
    petname: Petname = "home",
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="The surviving store, or a whole copy; it is used where it lies."),
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The surviving server, in place of a directory.")
    ] = None,
    server_host: Annotated[
        str | None, typer.Option(metavar="NAME", help="The server's machine name in the domain.")
    ] = None,
    host: OwnHost = None,
    words_file: WordsFile = None,
    shares: Shares = False,
    share_files: ShareFiles = None,
    tpm: Tpm = False,
    tcti: Tcti = None,
    pcr: Pcrs = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Come back into a domain with its words or its shares.

    For a machine that knows nothing of it. The 24 recovery words, or the shares, are asked for; a store of the domain
    has to be left, here or at a server. This machine gets new keys and all rights, as after bt init. Nothing is taken
    from the machines that were lost.

    Examples:

      bt recover home --store /mnt/backup/store

      bt recover home --server nas.example:7464 --server-host nas

      bt recover home --store /mnt/backup/store --tpm
    """
    session = Session(passphrase_file)
    place = KeyPlace.chosen(session.home, tpm=tpm, tcti=tcti, pcrs=pcr)
    survivor = Survivor(store=store.absolute() if store else None, server=server, server_host=server_host)
    survivor.check()
    name = check_name(host or socket.gethostname().partition(".")[0])
    pending = session.home.begin(petname)
    try:
        candidates = roots_of(take_backup(words_file, shares=shares, share_files=share_files or ()))
        _require_unknown(session.home, candidates)
        with survivor.opened(candidates) as (opened, root):
            secret = new_passphrase(f"the domain {petname}", passphrase_file)
            settings = DomainSettings(
                root=root.public.principal,
                host=name,
                store=survivor.store,
                server=survivor.server,
                server_path=survivor.server_path(root.public.principal),
            )
            domain = session.home.pending_domain(petname, settings)
            machine = _enter(opened, domain, root, secret, place)
        made = session.home.admit(domain)
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise
    _show(made, machine, as_json=json)


def _enter(store: Store, domain: Domain, root: Credentials, secret: str, place: KeyPlace) -> Principal:
    """New keys for this machine, and all rights for them; both are kept, as are the root's keys."""
    machine = place.machine(domain.credentials_file)
    public = machine.generate(place.suite(None) if place.in_tpm else root.suite, secret)
    place.root(domain.root_credentials_file, root.suite).save(root, secret)
    done = recover_domain(store, root.identity(), public, now=now(), random=secrets.token_bytes)
    machine.add_chains(secret, done.chain)
    return public.principal


def _chosen(store: Store, candidates: Sequence[Credentials]) -> Credentials:
    root = find_root(store, [candidate.identity() for candidate in candidates])
    return next(candidate for candidate in candidates if candidate.public.principal == root.principal)


def _require_unknown(home: Home, candidates: Sequence[Credentials]) -> None:
    roots = {candidate.public.principal for candidate in candidates}
    for domain in home.domains():
        if domain.root in roots:
            raise CommandError(
                f"this machine belongs to the domain of {domain.root} already, as {domain.petname}",
                kind=Kind.EXISTS,
                hint=f"use it; or, if its passphrase is lost, move it away first: {domain.directory}",
            )


def _show(domain: Domain, machine: Principal, *, as_json: bool) -> None:
    if as_json:
        give(
            {
                "petname": domain.petname,
                "root": str(domain.root),
                "host": domain.host,
                "principal": str(machine),
                "store": None if domain.store is None else str(domain.store),
                "server": domain.server,
                "root_credentials": str(domain.root_credentials_file),
            }
        )
        return
    say(f"The domain {domain.petname} is recovered.")
    say(f"  root      {domain.root}")
    say(f"  machine   {machine}  ({domain.host})")
    say(f"  {'store     ' if domain.store else 'server    '}{domain.store or domain.server}")
    say(f"Next: bt ls {domain.petname}:   The lost machine's keys still count; see docs/keys.md.")
