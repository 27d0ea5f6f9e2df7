"""`bt key rotate` and `sign-rotation`: new keys for this machine, or for acting as the root, without losing access."""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from btfproto.domain import DomainReader, hand_over, prepare
from btfproto.store import Store
from btlib.home import Domain, Phase, Succession, open_credential_store, tcti_of
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.writecaps import Chain

from ..asking import passphrase
from ..dates import parse_until
from ..enrolment import ResponseTerms, make_request, make_response, read_response
from ..errors import CommandError
from ..files.local import local_errors
from ..key_places import KeyPlace
from ..options import (
    DomainName,
    Json,
    PassphraseFile,
    Pcrs,
    ShareFiles,
    Shares,
    SuiteName,
    Tcti,
    Tpm,
    WordsFile,
    complete_petname,
)
from ..output import give, human_time, iso_time, remark, say
from ..principals import SUFFIX, Member, name_of, read_text, remember
from ..recovery_shares import take_backup
from ..recovery_words import roots_of
from ..rotating import Rotated, Rotation, renew_members
from ..rotation_request import make_rotation_request, read_rotation_request
from ..session import Session, known_revocations, now, open_store

ROTATION_SUFFIX = ".rotation"
RESPONSE_SUFFIX = ".response"
GRACE = "7d"  #: for daemons and mounts that still run with the old keys
AT_ONCE = "now"


def rotate(
    petname: Annotated[
        str | None,
        typer.Argument(
            metavar="PETNAME", help="The domain; not needed where it is the only one.", autocompletion=complete_petname
        ),
    ] = None,
    root: Annotated[
        bool,
        typer.Option("--root", help="Those that act for the root, in place of this machine's; asks for its words."),
    ] = False,
    response: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Go on with the answer of bt key sign-rotation.")
    ] = None,
    grace: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="How long what still runs with the old keys may go on: 7d, 12h, a date; now."
        ),
    ] = GRACE,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up new keys that are not in use yet.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write the request.")] = None,
    suite: SuiteName = None,
    tpm: Tpm = False,
    tcti: Tcti = None,
    pcr: Pcrs = None,
    words_file: WordsFile = None,
    shares: Shares = False,
    share_files: ShareFiles = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Replace this machine's keys by new ones. They have all that the old ones had, which are revoked then.

    Where the root's keys lie, it is done in one go. Elsewhere it writes a request, which an owner signs. Interrupted,
    the same command goes on; access is never lost. With --root, the keys that act for the root are replaced: from then
    on the root's own keys exist on paper only, and can sign new ones whenever those here are lost or stolen.

    Examples:

      bt key rotate home

      bt key rotate home --response laptop.response

      bt key rotate home --root
    """
    session = Session(passphrase_file)
    domain = session.home.domain(petname)
    file = domain.root_credentials_file if root else domain.credentials_file
    files = Succession(file)
    if cancel:
        _cancel(files)
        return
    if not file.exists():
        raise CommandError(f"there are no keys at {file}", kind=Kind.NOT_FOUND, hint="do it where they lie")
    place = KeyPlace.chosen(session.home, tpm=tpm, tcti=tcti or tcti_of(file, domain.tcti), pcrs=pcr)
    secret = passphrase(f"{'the root of' if root else 'this machine in'} {domain.petname}", passphrase_file)
    rotation = Rotation(
        domain=domain, files=files, secret=secret, make=lambda: _make(files, place, suite, secret, root)
    )
    if root:
        words = take_backup(words_file, shares=shares, share_files=share_files or ())
        report = _rotate_root(rotation, _root_of(domain, words))
    else:
        since = now() + 1 if grace == AT_ONCE else parse_until(grace, now())
        found = _rotate_machine(session, rotation, response, out, since, as_json=json)
        if found is None:
            return
        report = found
    if report.revoked_from is not None and (root or grace == AT_ONCE):
        time.sleep(max(0.0, report.revoked_from - time.time()))  # who hears that it is done may rely on it
    _show(domain, report, root=root, as_json=json)


def _cancel(files: Succession) -> None:
    if files.phase() is not Phase.NEXT:
        raise CommandError("no keys wait to be used", kind=Kind.NOT_FOUND, hint="see: bt status")
    with local_errors(files.file):
        files.cancel()
    say("The new keys are given up; the old ones are in use as before.")


def _make(files: Succession, place: KeyPlace, suite: str | None, secret: str, root: bool) -> PublicKeys:
    """New keys: of the suite of the old ones where nothing is said, in the chip where the old ones are in one."""
    before = open_credential_store(files.file).public().suite if not place.in_tpm else None
    chosen = before if suite is None and before is not None else place.suite(suite)
    store = place.root(files.next, chosen) if root else place.machine(files.next)
    return store.generate(chosen, secret)


def _root_of(domain: Domain, seed: bytes) -> Identity:
    for candidate in roots_of(seed):
        if candidate.public.principal == domain.root:
            return candidate.identity()
    raise CommandError(
        f"these words are not those of {domain.petname}, whose root is {domain.root}",
        kind=Kind.UNAUTHENTICATED,
        hint="look for the right sheet: bt key verify-backup",
    )


def _rotate_root(rotation: Rotation, root: Identity) -> Rotated:
    with closing(open_store(rotation.domain, root)) as store:
        known_revocations(rotation.domain, store)
        if rotation.phase is not Phase.OLD:
            rotation.deputize(store, root)
            report = rotation.change_over(store)
        else:
            report = rotation.promoted()
        rotation.retire(store, root, now() + 1, report)
    return report


def _rotate_machine(
    session: Session, rotation: Rotation, response: Path | None, out: Path | None, since: int, *, as_json: bool
) -> Rotated | None:
    """None where the answer to a request is awaited."""
    domain = rotation.domain
    here = domain.root_credentials.exists()
    giver = session.unlock_root(domain) if here else None
    if rotation.phase is Phase.OLD:
        report = rotation.promoted()
    else:
        old, new = rotation.begin()
        if response is not None:
            new = rotation.keep(*_answered(domain, response, new.principal))
        speaker = new if response is not None else old
        with closing(open_store(domain, speaker)) as store:
            known_revocations(domain, store)
            if giver is not None:
                rotation.take_over(store, giver)
            elif response is None:
                _ask(rotation, store, old, new, out, as_json=as_json)
                return None
            report = rotation.change_over(store)
    identity = rotation.in_use.unlock(rotation.secret)
    session.hold(domain, identity)
    with closing(open_store(domain, identity)) as store:
        if giver is not None:
            report.given_anew += renew_members(domain, store, identity)
        rotation.retire(store, giver or identity, since, report)
    return report


def _ask(rotation: Rotation, store: Store, old: Identity, new: Identity, out: Path | None, *, as_json: bool) -> None:
    """Write the request that an owner has to sign."""
    domain = rotation.domain
    handover = prepare(DomainReader(store, domain.root), old, new.public)
    text = make_rotation_request(old.signer, domain.root, make_request(new.signer, domain.host, now()), handover)
    file = out or Path(f"{domain.host}{ROTATION_SUFFIX}")
    with local_errors(file):
        file.write_text(text, encoding="ascii")
    if as_json:
        give({"petname": domain.petname, "waiting": True, "file": str(file), "new": str(new.principal)})
        return
    say(f"Wrote {file}. The old keys stay in use until it is answered.")
    say(f"Next: take it to an owner's machine and run there: bt key sign-rotation {file.name}")


def _answered(domain: Domain, file: Path, new: Principal) -> tuple[Chain, ...]:
    answer = read_response(read_text(file), now())
    if answer.terms.subject != new or answer.root != domain.root:
        raise CommandError(
            f"this answer is for {answer.terms.subject} under {answer.root}, and not for the keys that wait here",
            kind=Kind.UNAUTHENTICATED,
            hint="write the request again: bt key rotate",
        )
    return answer.terms.chains


def sign_rotation(
    file: Annotated[Path, typer.Argument(metavar="REQUEST", help="The file that bt key rotate wrote.")],
    domain_name: DomainName = None,
    root: Annotated[bool, typer.Option("--root", help="Sign with the root's keys instead of this machine's.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write the answer.")] = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Give another machine's new keys what its old ones have. The old ones have signed for them.

    Nothing is taken away: when the machine has changed over, revoke the old keys.

    Example: bt key sign-rotation laptop.rotation
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    asked = read_rotation_request(read_text(file), domain.root)
    old, joining = asked.terms.old.principal, asked.joining
    signer = session.unlock_root(domain) if root else session.unlock(domain)
    with closing(open_store(domain, signer)) as store:
        known_revocations(domain, store)
        done = hand_over(store, signer, asked.handover, domain.root, now=now(), random=secrets.token_bytes)
    chains = tuple(chain for chain in done.chains if chain.last is not None and chain.last.issuer == signer.public)
    for reason in done.refused:
        remark(f"not given: {reason}")
    if not chains:
        raise CommandError(
            f"{signer.principal} can give {joining.principal} nothing of what {old} has",
            kind=Kind.FORBIDDEN,
            hint="have an owner sign it, or use --root",
        )
    host = name_of(domain, old) or joining.terms.host
    terms = ResponseTerms(
        subject=joining.principal,
        host=host,
        root=chains[0].caps[0].issuer,
        chains=chains,
        server=domain.server,
        server_path=str(domain.server_path),
        issued=now(),
    )
    target = out or file.with_suffix(RESPONSE_SUFFIX)
    with local_errors(target):
        target.write_text(make_response(signer.signer, terms), encoding="ascii")
    remember(domain, Member(host, joining, asked.terms.request))
    with local_errors(target):
        (domain.directory / "principals" / f"{old}{SUFFIX}").unlink(missing_ok=True)
    if json:
        give({"file": str(target), "host": host, "old": str(old), "new": str(joining.principal)})
        return
    say(f"Wrote {target}: what {host} ({old}) has, its new keys {joining.principal} have too.")
    say(f"Next: take it back and run there: bt key rotate --response {target.name}")
    say(f"Then, here: bt revoke {old}")


def _show(domain: Domain, report: Rotated, *, root: bool, as_json: bool) -> None:
    since = report.revoked_from
    if as_json:
        give(
            {
                "petname": domain.petname,
                "waiting": False,
                "old": str(report.old),
                "new": str(report.new),
                "given_anew": report.given_anew,
                "old_revoked_from": None if since is None else iso_time(since),
                "refused": report.refused,
            }
        )
        return
    say(f"{'For the root' if root else domain.host} in {domain.petname}: {report.new} takes the place of {report.old}.")
    if report.given_anew:
        say(f"{report.given_anew} records of what the old keys had given to others were issued anew.")
    for reason in report.refused:
        remark(reason)
    if since is not None:
        say(f"The old keys count for nothing from {human_time(since)} UTC on.")
        say(
            "What they signed before stays good. What runs with them (btfsd, mounts, agents) has to start anew by then."
        )
    if root and report.old == domain.root:
        say("The root's own keys are on paper only now. Whoever has that paper is the root: no command ends that.")
