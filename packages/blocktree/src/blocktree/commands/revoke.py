"""`bt revoke`: take back what a principal was given, in the whole domain or at a path; or one writecap."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated

import typer
from btfproto.domain import (
    Aftermath,
    DomainReader,
    RevokedAccess,
    Withdrawn,
    aftermath,
    granted_in,
    revoke_access,
    withdraw_access,
)
from btfproto.localfs import Rekeyed
from btfproto.store import Store
from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.writecaps import Chain

from ..asking import confirm
from ..dates import parse_since
from ..errors import CommandError
from ..files.keys import keys_below, read_key
from ..options import Json, PassphraseFile, complete_petname
from ..output import give, human_time, iso_time, remark, say
from ..places import places_above, readable_places
from ..principals import find_principal, name_of
from ..rekey_notes import RekeyNote, keep_note, notes
from ..session import Session, known_revocations, now, open_store
from .rekey import rekey_place
from .scrub import choose_meter

_SERIAL = re.compile("[0-9a-f]{32}")
NOW = "now"
NOTHING_WITHDRAWN = Withdrawn(readcaps=0, chains=0)


@dataclass(kw_only=True)
class Target:
    """What is revoked, and how it is called."""

    called: str
    principal: Principal | None = None
    serials: tuple[bytes, ...] = ()
    place: BlockPath | None = None
    chains: tuple[Chain, ...] = ()
    blocks: frozenset[bytes] = frozenset()  #: directories whose readcaps are withdrawn
    lineage: Sequence[bytes] = field(default=())
    epoch: int = 0  #: of the key of the directory at `place`
    above: bool = False  #: whether something that was granted above stays, and reaches the place too

    def principals(self, since: int) -> dict[Principal, int]:
        """What goes into the list: a principal, where all of it is meant,"""
        return {self.principal: since} if self.principal is not None and self.place is None else {}

    def revoked_serials(self, since: int) -> dict[bytes, int]:
        """or the serials of writecaps."""
        return dict.fromkeys(self.serials, since)


def revoke(
    target: Annotated[
        str,
        typer.Argument(
            metavar="PRINCIPAL|SERIAL",
            help="bt1…, a machine enrolled here, its request file; or a writecap's serial, as bt access log shows it.",
        ),
    ],
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PETNAME:[/PATH]",
            help="Only what was granted there and below. PETNAME: alone means everything in that domain.",
            autocompletion=complete_petname,
        ),
    ] = None,
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="From when on it counts: a date, or 2d for two days ago.")
    ] = NOW,
    root: Annotated[bool, typer.Option("--root", help="Sign with the root's keys instead of this machine's.")] = False,
    rekey_now: Annotated[
        bool, typer.Option("--now", help="Then give new keys to all that it could read (there), files too, and wait.")
    ] = False,
    keep_keys: Annotated[bool, typer.Option("--keep-keys", help="Give no new keys, not even to directories.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take back what somebody was given, from a moment on. This cannot be undone.

    Servers refuse it at once, on open connections too; everybody else when they hear of it. What it wrote before that
    moment stays readable, what it writes later is refused. What it has read it keeps.

    Directories that it could read get new keys at once, and a file when it is written: what is new there it cannot
    read. The rest is sealed anew by bt rekey --resume when it suits, or with --now. If killed, the same goes on.

    Examples:

      bt revoke laptop

      bt revoke bt1… home:/photos --from 2026-11-20

      bt revoke bob home:/photos --now
    """
    session = Session(passphrase_file)
    domain, place = _where(session, path)
    signer = session.unlock_root(domain) if root else session.unlock(domain)
    found = _target(session, domain, target, place)
    if rekey_now and keep_keys:
        raise CommandError("new keys now, or none: not both", hint="leave out --now, or --keep-keys")
    if rekey_now and found.principal is None:
        raise CommandError("a writecap opens nothing, so there is nothing to re-key", hint="leave --now away")
    with closing(open_store(domain, signer)) as store:
        # The second that runs is over for honest writers too: what they wrote in it shall stay.
        moment = now() + 1 if since == NOW else parse_since(since, now())
        how = "now" if rekey_now else "kept" if keep_keys else "lazily"
        words = consequences(found, moment, _lost(domain, store, found, moment), how)
        for line in words:
            remark(line)
        if not yes:
            confirm(f"Revoke {found.called}?", otherwise="--yes")
        if found.place is not None and not keep_keys:  # afterwards nothing says any more that it could read there
            who, was = str(found.principal), found.epoch
            keep_note(domain, RekeyNote(path=str(found.place), was=was, lazily=not rekey_now, because=who))
        done, withdrawn = _revoke(domain, store, signer, found, moment)
        if since == NOW:
            time.sleep(max(0.0, moment - time.time()))  # who hears that it is done may rely on it
    fresh = done.added > 0 or withdrawn.readcaps > 0
    rekeyed = (
        [] if keep_keys or found.principal is None else _rekey(session, domain, found, fresh, lazily=not rekey_now)
    )
    _show(found, moment, done, withdrawn, words, rekeyed, as_json=json)


def _rekey(
    session: Session, domain: Domain, target: Target, fresh: bool, *, lazily: bool
) -> list[tuple[BlockPath, Rekeyed]]:
    """New keys for all that it could read. What an earlier one, for the same principal, left is gone on with.

    Lazily, a place that cannot be re-keyed from here is told, and no failure: the revocation stands.
    """
    assert target.principal is not None
    done = []
    for place, resume in _places(session, domain, target, target.principal, fresh):
        shown = f"{domain.petname}:/{'/'.join(place.names)}"
        with choose_meter(False if lazily else None, as_json=False) as meter:
            try:
                one = rekey_place(session, domain, place, meter, resume=resume, lazily=lazily, because=target.principal)
                done.append((place, one))
            except BlocktreeError as error:
                remark(f"It is revoked, but {shown} has not all new keys yet; go on with: bt rekey {shown} --resume")
                if not lazily:
                    raise
                remark(f"The reason: {error.message}")
    return done


def _places(
    session: Session, domain: Domain, target: Target, principal: Principal, fresh: bool
) -> list[tuple[BlockPath, bool]]:
    """Where it could read, and whether that was begun already, by an earlier run for the same principal."""
    left = {note.place: note for note in notes(domain) if note.because == str(principal)}
    if target.place is not None and fresh:
        return [(target.place, False)]
    try:
        readable = [] if target.place is not None else readable_places(session, domain, principal)
    except BlocktreeError as error:
        remark(f"This machine cannot see what it could read, so no keys were changed: {error.message}")
        return []
    # Where it still has a key of now, nothing was begun.
    return [(place, False) for place in readable] + [(place, True) for place in left if place not in readable]


def _where(session: Session, path: str | None) -> tuple[Domain, BlockPath | None]:
    if path is None:
        return session.home.domain(None), None
    domain, place = session.home.resolve(path)
    return domain, place if place.names else None


def _target(session: Session, domain: Domain, text: str, place: BlockPath | None) -> Target:
    if _SERIAL.fullmatch(text):
        if place is not None:
            raise CommandError("a serial names one writecap by itself", hint="leave the path away")
        return Target(called=f"the writecap {text}", serials=(bytes.fromhex(text),))
    principal = find_principal(domain, text)
    name = name_of(domain, principal)
    called = str(principal) if name is None else f"{name} ({principal})"
    if place is None:
        return Target(called=called, principal=principal)
    return _target_at(session, domain, principal, called, place)


def _target_at(session: Session, domain: Domain, principal: Principal, called: str, place: BlockPath) -> Target:
    """What the records say that a principal was granted at a path and below it."""
    with session.attach_local(domain, [place]) as (tree, provider, store):
        directory = tree.directory(place)
        reader = DomainReader(store, domain.root)
        lineage = reader.lineage(provider.inode_of(directory.inode).store.scope)
        granted = granted_in(reader, lineage, principal)
        top = read_key(provider, directory, place)
        blocks = {top.block}
        wanted = {readcap.block for readcap in granted.readcaps} - blocks
        if wanted:
            blocks |= {key.block for key in keys_below(tree, provider, directory, place) if key.block in wanted}
        higher = {above.block for above in places_above(tree, provider, place)} - blocks
    chains = tuple(chain for chain in granted.chains if chain.last and place.is_prefix_of(chain.last.block_path))
    others = [chain.last.block_path for chain in granted.chains if chain.last and chain not in chains]
    stays = any(readcap.block in higher for readcap in granted.readcaps) or any(p.is_prefix_of(place) for p in others)
    readcaps = [readcap for readcap in granted.readcaps if readcap.block in blocks]
    if not chains and not readcaps:
        shown = f"{domain.petname}:/{'/'.join(place.names)}"
        raise CommandError(
            f"the records of {domain.petname} name nothing that {called} was granted at {shown} or below",
            kind=Kind.NOT_FOUND,
            hint=f"it may come from above: bt access list {shown}; all of it at once: bt revoke {principal}",
        )
    return Target(
        called=f"what {called} was granted at {domain.petname}:/{'/'.join(place.names)}",
        principal=principal,
        serials=tuple(chain.last.serial for chain in chains if chain.last),
        place=place,
        chains=chains,
        blocks=frozenset(blocks),
        lineage=lineage,
        epoch=top.key_epoch,
        above=stays,
    )


def _lost(domain: Domain, store: Store, target: Target, since: int) -> Aftermath:
    """What would become unreadable. Raises CommandError where that is the tree itself."""
    if since >= now():
        return Aftermath()
    reader = DomainReader(store, domain.root, known_revocations(domain, store))
    lost = aftermath(reader, target.principals(since), target.revoked_serials(since))
    if lost.root_directory:
        raise CommandError(
            f"the root directory of {domain.petname} was last written by that right, after {human_time(since)} UTC: "
            "with it, the whole tree would become unreadable",
            hint="give a later --from; or make and remove a directory there from another machine first, which signs "
            "the root directory anew",
        )
    return lost


NOT_UNDONE = {
    "now": "What it has read it keeps. What is stored now is sealed anew: the keys it holds open only what it, or "
    "somebody for it, copied before.",
    "lazily": "What it has read it keeps. Directories that it could read get new keys now, so it cannot find what is "
    "made there later, and a file gets one when it is written (not one of more than 24 MiB, or with several names); "
    "what stays as it is it can open, if it gets hold of the stored bytes, until bt rekey --resume has been there.",
    "kept": "What it has read it keeps, and the keys it holds: until they are changed (bt rekey), it can open "
    "whatever it could read, old and new, if it gets hold of the stored bytes.",
}


def consequences(target: Target, since: int, lost: Aftermath, how: str = "kept") -> list[str]:
    """Plain sentences: what it will do and what it cannot, before anything is done."""
    lines = [f"From {human_time(since)} UTC on, {target.called} counts for nothing. This cannot be undone."]
    if lost.files or lost.records:
        lines.append(
            f"{lost.files} files or directories and {lost.records} records that were written by that right since then "
            "become unreadable for everybody, honest or not. Copy what you trust first."
        )
    if target.above:
        lines.append("What it was granted above reaches there as well, and stays: see bt access list.")
    if target.principal is not None:
        lines.append(
            "Whoever was enrolled by it, or granted something, loses that too and needs it anew from somebody else."
        )
        lines.append(NOT_UNDONE[how])
    return lines


def _revoke(
    domain: Domain, store: Store, signer: Identity, target: Target, since: int
) -> tuple[RevokedAccess, Withdrawn]:
    view = known_revocations(domain, store)
    done = revoke_access(
        store,
        signer,
        domain.root,
        principals=target.principals(since),
        serials=target.revoked_serials(since),
        now=now(),
        random=secrets.token_bytes,
        seen=view.seen,
    )
    view.refresh(now())
    if target.place is None or target.principal is None:
        return done, NOTHING_WITHDRAWN
    withdrawn = withdraw_access(
        store,
        signer,
        target.principal,
        root=domain.root,
        lineage=target.lineage,
        blocks=target.blocks,
        chains=target.chains,
        now=now(),
        random=secrets.token_bytes,
    )
    return done, withdrawn


def _show(
    target: Target,
    since: int,
    done: RevokedAccess,
    withdrawn: Withdrawn,
    words: list[str],
    rekeyed: list[tuple[BlockPath, Rekeyed]],
    *,
    as_json: bool,
) -> None:
    if as_json:
        give(
            {
                "principal": None if target.principal is None else str(target.principal),
                "path": None if target.place is None else str(target.place),
                "serials": [serial.hex() for serial in target.serials],
                "since": iso_time(since),
                "version": done.record.version,
                "added": done.added,
                "readcaps_withdrawn": withdrawn.readcaps,
                "not_undone": words[1:],
                "rekeyed": [
                    {"path": str(place), "blocks": one.blocks, "kept": len(one.kept), "waiting": one.waiting}
                    for place, one in rekeyed
                ],
            }
        )
        return
    if done.added:
        say(f"Revoked {target.called} from {human_time(since)} UTC on (list version {done.record.version}).")
    elif withdrawn.readcaps:
        say(f"Withdrew {target.called}.")
    else:
        say(f"Nothing new: {target.called} was revoked already (list version {done.record.version}).")
    if withdrawn.readcaps:
        say(f"{withdrawn.readcaps} readcaps were taken out of the records.")
    for place, one in rekeyed:
        shown = f"/{'/'.join(place.names)}"
        say(f"{one.blocks} files and directories at {shown} have new keys, {len(one.kept)} keep theirs.")
        if one.waiting:
            say(f"{one.waiting} files there wait for bt rekey --resume. Mounts of {shown} have to be mounted again.")
