"""`bt rekey`: new keys for a directory and all below, after somebody who could read there was revoked."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Annotated

import typer
from btfproto.domain import DomainReader, survey_records
from btfproto.localfs import Rekeyed, Rekeying, rekey_tree
from btfproto.provider import Attributes
from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.readcaps import ReadKey

from ..errors import CommandError
from ..files.keys import read_key
from ..files.tree import Tree
from ..options import Json, PassphraseFile, complete_tree_path
from ..output import give, human_size, remark, say, visible
from ..principals import members, name_of
from ..progress import Meter, Silence
from ..rekey_notes import RekeyNote, drop_note, keep_note, note_of, notes
from ..session import Session, known_revocations, now, open_store
from .scrub import Progress, choose_meter

LATER = "A file that existed keeps its key until it is written, or until bt rekey {place} --resume."


def rekey(
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PETNAME:/PATH",
            help="The directory; with --resume not needed: all that was left.",
            autocompletion=complete_tree_path,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was interrupted or left for later: only old keys.")
    ] = False,
    lazily: Annotated[
        bool,
        typer.Option("--lazy", help="Only directories now, so that all that is written later is safe; files later."),
    ] = False,
    progress: Progress = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Give a directory and all below new keys. Who was revoked cannot read what is written from then on.

    Everything is sealed anew: as much is written as lies there. Who was granted reading there, and was not revoked,
    gets the new keys. Nobody should write there meanwhile, and mounts of this directory have to be mounted again.

    Examples:

      bt rekey home:/photos

      bt rekey --resume
    """
    session = Session(passphrase_file)
    if path is None:
        _resume_all(session, resume, progress, as_json=json)
        return
    domain, place = session.home.resolve(path)
    with choose_meter(progress, as_json=json) as meter:
        done = rekey_place(session, domain, place, meter, resume=resume, lazily=lazily)
    show(domain, place, done, as_json=json)


def _resume_all(session: Session, resume: bool, progress: bool | None, *, as_json: bool) -> None:
    if not resume:
        raise CommandError(
            "say what is to be re-keyed", hint="bt rekey PETNAME:/PATH, or bt rekey --resume for the rest"
        )
    left = [(domain, note) for domain in session.home.domains() for note in notes(domain)]
    if not left and not as_json:
        say("Nothing is left to be re-keyed.")
    for domain, note in left:
        with choose_meter(progress, as_json=as_json) as meter:
            done = rekey_place(session, domain, note.place, meter, resume=True)
        show(domain, note.place, done, as_json=as_json)


def rekey_place(
    session: Session,
    domain: Domain,
    place: BlockPath,
    meter: Meter,
    *,
    resume: bool = False,
    lazily: bool = False,
    because: Principal | None = None,
) -> Rekeyed:
    """Re-key what lies at a path. Raises FsError, StoreError; CommandError where the directory above is closed.

    A note of it is kept until it is done, files that are left for later included. To resume what was noted and never
    begun is to begin.
    """
    top, above = _keys(session, domain, place, meter)
    note = note_of(domain, place)
    if resume and note is not None and not note.begun(top.key_epoch):
        resume = False
    if not resume:
        who = None if because is None else str(because)
        keep_note(domain, RekeyNote(path=str(place), was=top.key_epoch, lazily=lazily, because=who))
    identity = session.unlock(domain)
    with closing(open_store(domain, identity)) as store:
        view = known_revocations(domain, store)
        reader = DomainReader(store, domain.root, view)
        work = Rekeying(
            store=store,
            identity=identity,
            reader=reader,
            top=top,
            above=above,
            keys_of=_directory_of_keys(domain, reader, identity.public),
            now=now(),
            random=secrets.token_bytes,
            progress=lambda below, size: _tell(meter, below, size),
            lazily=lazily,
        )
        done = rekey_tree(work, resume=resume)
    if not done.waiting:
        drop_note(domain, place)
    return done


def intend_rekeying(session: Session, domain: Domain, places: Sequence[BlockPath], *, lazily: bool) -> None:
    """Keep notes of what is going to be re-keyed, before what makes that necessary: if that is interrupted, `bt status`
    tells of them, and bt rekey --resume does it. Left out is what cannot be re-keyed from here."""
    for place in places:
        with suppress(BlocktreeError):
            top, _ = _keys(session, domain, place, Silence())
            keep_note(domain, RekeyNote(path=str(place), was=top.key_epoch, lazily=lazily))


def show(domain: Domain, place: BlockPath, done: Rekeyed, *, as_json: bool) -> None:
    """What was done, and what was not."""
    shown = f"{domain.petname}:/{'/'.join(place.names)}"
    unread = [name_of(domain, who) or str(who) for who in sorted(done.unread, key=str)]
    if as_json:
        give(
            {
                "path": str(place),
                "epoch": done.epoch,
                "blocks": done.blocks,
                "bytes": done.size,
                "waiting": done.waiting,
                "kept": [{"path": str(below), "reason": reason} for below, reason in done.kept],
                "unread": [str(who) for who in sorted(done.unread, key=str)],
            }
        )
        return
    say(f"{done.blocks} files and directories at {shown} have new keys ({human_size(done.size)} sealed anew).")
    if done.waiting:
        say(f"{done.waiting} files wait. {LATER.format(place=shown)}")
    for below, reason in done.kept:
        remark(visible(f"{domain.petname}:/{'/'.join(below.names)} keeps its old key: {reason}"))
    for who in unread:
        remark(f"{who} cannot read there any more, since its keys are not known here: bt grant {who} {shown} read")


def _tell(meter: Meter, path: BlockPath, size: int) -> None:
    meter.item(path.names[-1] if path.names else "/")
    meter.bytes(size)


def _keys(session: Session, domain: Domain, place: BlockPath, meter: Meter) -> tuple[ReadKey, ReadKey | None]:
    """The keys of a directory and of the one above it, which names it; None above the root directory."""
    with session.attach_local(domain, [place.parent or place]) as (tree, provider, _):
        directory = tree.directory(place)
        if meter.wants_totals:
            meter.expect(*_total(tree, directory))
        if place.parent is None:
            return read_key(provider, directory, place), None
        if not tree.anchor.is_prefix_of(place.parent):
            raise CommandError(
                f"this machine cannot read the directory above {tree.shown(place)}, where its key stands",
                kind=Kind.FORBIDDEN,
                hint="do it on a machine that may read and write there",
            )
        return read_key(provider, directory, place), read_key(provider, tree.directory(place.parent), place.parent)


def _total(tree: Tree, directory: Attributes) -> tuple[int, int]:
    """How many files and directories there are, and how many bytes."""
    items, size = 1, 0
    pending = [directory]
    while pending:
        parent = pending.pop()
        for entry in tree.entries(parent):
            found = tree.attributes(parent, entry)
            items, size = items + 1, size + found.size
            if entry.kind is directory.kind:
                pending.append(found)
    return items, size


def _directory_of_keys(
    domain: Domain, reader: DomainReader, own: PublicKeys
) -> Callable[[Principal], PublicKeys | None]:
    """Whose public keys are known: this machine's, the root's, those enrolled here, all who ever wrote, and groups."""
    known = {keys.principal: keys for keys in (own, reader.domain().root)}
    known |= {member.request.principal: member.request.terms.public for member in members(domain)}
    survey = survey_records(reader)
    known |= {writer.public.principal: writer.public for writer in survey.writers}
    known |= {one.membership.principal: one.membership.terms.keys for one in survey.groups}
    return known.get
