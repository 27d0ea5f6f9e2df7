"""`bt group`: principals that stand for several, with keys of their own and a signed membership."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated

import typer
from btfproto.domain import GroupChanged
from btfproto.localfs import Rekeyed
from btfproto.store import Store
from btlib.errors import BlocktreeError
from btlib.groups import Membership
from btlib.home import Domain
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.public_keys import PublicKeys, Suite

from ..asking import confirm
from ..dates import parse_until
from ..errors import CommandError
from ..groups import KnownGroup, find_somebody, find_subject, keeper, known_groups, require_group
from ..options import DomainName, Json, PassphraseFile, Until
from ..output import Json as Document
from ..output import give, human_time, iso_time, remark, say, visible
from ..places import readable_places
from ..principals import names_of
from ..session import Session, now, open_store
from .rekey import intend_rekeying, rekey_place
from .scrub import choose_meter

DEFAULT_TIME = "1y"

Group = Annotated[str, typer.Argument(metavar="GROUP", help="Its name, or its principal.")]
Who = Annotated[
    list[str], typer.Argument(metavar="PRINCIPAL", help="bt1…, a contact, a machine enrolled here, a request file.")
]
WithRoot = Annotated[bool, typer.Option("--root", help="With the root's keys instead of this machine's.")]


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help="Groups: grant once, and say who is in it.", no_args_is_help=True)
    app.command()(create)
    app.command()(add)
    app.command()(remove)
    app.command()(rotate)
    app.command("list")(list_groups)
    app.command()(show)
    return app


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What managers and members will call it.")],
    domain_name: DomainName = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a group with keys of its own. This machine and the root manage it.

    Its name is sealed: servers see who is in a group, and not what it is called.

    Example: bt group create family
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    if name.startswith("bt1") or name in names_of(domain).values():
        raise CommandError(f"{name} is somebody's name here already", kind=Kind.EXISTS, hint="choose another")
    with _work(session, domain, root=False) as (store, identity):
        group = keeper(domain, store, identity).create(name, _suite(identity))
    if json:
        give({"group": group.membership.terms.group.hex(), "name": name, "principal": str(group.membership.principal)})
        return
    say(f"{name} is {group.membership.principal}.")
    say(f"Next: bt group add {name} PRINCIPAL…, and bt grant {name} {domain.petname}:/PATH read,write")


def add(
    group: Group,
    who: Who,
    until: Until = DEFAULT_TIME,
    manager: Annotated[bool, typer.Option("--manager", help="Let them change the group instead.")] = False,
    root: WithRoot = False,
    domain_name: DomainName = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Let somebody into a group, or stay in it for longer. From now on it may what the group was granted.

    Examples:

      bt group add family laptop bob --until 1y

      bt group add family nas2 --manager
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    keys = [_somebody(session, domain, text) for text in who]
    end = parse_until(until, now())
    with _work(session, domain, root=root) as (store, identity):
        managed = require_group(known_groups(domain, store, identity), group).require_managed()
        work = keeper(domain, store, identity)
        done = work.add_managers(managed, keys) if manager else work.add(managed, keys, end)
    added = [str(one.principal) for one in keys]
    if json:
        give(
            {
                "group": done.group.name,
                "principal": str(done.group.membership.principal),
                "added": added,
                "manager": manager,
                "until": None if manager else iso_time(end),
                "writecaps": done.issued,
            }
        )
        return
    for text, principal in zip(who, added, strict=True):
        role = "manages" if manager else "is in"
        say(visible(f"{text} ({principal}) {role} {done.group.name}{'' if manager else f', until {iso_time(end)}'}."))
    if done.issued:
        say(f"{done.issued} writecaps were issued through the group.")


def remove(
    group: Group,
    who: Who,
    rekey_now: Annotated[
        bool, typer.Option("--now", help="Then give new keys to all that the group could read, files too, and wait.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: WithRoot = False,
    domain_name: DomainName = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put somebody out of a group. The group gets new keys, and its old ones count for nothing any more.

    Who stays loses nothing. Directories that the group may read get new keys at once, each file when it is written, and
    the rest by bt rekey --resume when it suits, or with --now. An interrupted removal is completed by bt group rotate,
    and by bt rekey --resume where `bt status` says so.

    Examples:

      bt group remove family laptop

      bt group remove family bob --now
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    gone = [find_somebody(session, domain, text) for text in who]
    with _work(session, domain, root=root) as (store, identity):
        known = require_group(known_groups(domain, store, identity), group)
        managed = known.require_managed()
        _require_inside(known, gone)
    words = _not_undone(rekey_now)
    for line in words:
        remark(line)
    if not yes:
        confirm(f"Put {', '.join(who)} out of {managed.name}?", otherwise="--yes")
    # Afterwards nothing says any more that who is put out could read there.
    intend_rekeying(session, domain, _readable(session, domain, known.membership), lazily=not rekey_now)
    with _work(session, domain, root=root) as (store, identity):
        done = keeper(domain, store, identity).remove(managed, set(gone))
        _let_the_second_pass(done)
    rekeyed, places = _rekey(session, domain, done, lazily=not rekey_now)
    _show_change(domain, done, gone, words, rekeyed, places, as_json=json)


def rotate(
    group: Group,
    root: WithRoot = False,
    domain_name: DomainName = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Give a group new keys, or complete such a change. Nobody loses anything.

    Where somebody was being put out, directories that the group may read get new keys as well.

    Example: bt group rotate family
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    with _work(session, domain, root=root) as (store, identity):
        managed = require_group(known_groups(domain, store, identity), group).require_managed()
        work = keeper(domain, store, identity)
        completed = work.complete(managed)
        done = completed if completed.revoked is not None else work.remove(managed, set())
        _let_the_second_pass(done)
    rekeyed, places = _rekey(session, domain, done, lazily=True) if done is completed else ([], [])
    _show_change(domain, done, [], [], rekeyed, places, as_json=json)


def list_groups(domain_name: DomainName = None, json: Json = False, passphrase_file: PassphraseFile = None) -> None:
    """List the groups of a domain. Those that this machine is not in, and does not manage, have no name here.

    Example: bt group list
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    with _work(session, domain, root=False) as (store, identity):
        groups = known_groups(domain, store, identity)
    if json:
        give({"groups": [_document(domain, one) for one in groups]})
        return
    for one in groups:
        terms = one.membership.terms
        role = "managed here" if one.managed else "this machine is in it" if one.name else "not this machine's"
        say(visible(f"{one.name or '-':<16} {one.membership.principal}  {len(terms.members)} members, {role}"))
    if not groups:
        remark("There are no groups yet: bt group create NAME")


def show(
    group: Group, domain_name: DomainName = None, json: Json = False, passphrase_file: PassphraseFile = None
) -> None:
    """Show who is in a group, until when, who manages it, and who left.

    Example: bt group show family
    """
    session = Session(passphrase_file)
    domain = session.home.domain(domain_name)
    with _work(session, domain, root=False) as (store, identity):
        found = require_group(known_groups(domain, store, identity), group)
    if json:
        give(_document(domain, found))
        return
    names = names_of(domain) | {domain.root: "root"}
    for line in _lines(found, names):
        say(visible(line))


@contextmanager
def _work(session: Session, domain: Domain, *, root: bool) -> Iterator[tuple[Store, Identity]]:
    identity = session.unlock_root(domain) if root else session.unlock(domain)
    store = open_store(domain, identity)
    try:
        yield store, identity
    finally:
        store.close()


def _suite(identity: Identity) -> Suite:
    """As strong as the keys of who makes it; P-256 is only for what a chip has to hold."""
    own = identity.public.suite
    return Suite.ED25519_X25519 if own is Suite.P256 else own


def _somebody(session: Session, domain: Domain, text: str) -> PublicKeys:
    return find_subject(session, domain, text).keys


def _require_inside(group: KnownGroup, gone: Sequence[Principal]) -> None:
    for who in gone:
        if group.membership.member(who) is None and group.membership.manager(who) is None:
            raise CommandError(
                f"{who} is not in the group {group.called}",
                kind=Kind.NOT_FOUND,
                hint=f"see: bt group show {group.name}",
            )


def _not_undone(rekeyed: bool) -> list[str]:
    kept = (
        "What is stored now is sealed anew: the keys it holds open only what it, or somebody for it, copied before."
        if rekeyed
        else "Directories that the group could read get new keys now, and files when they are written; one that exists "
        "it can open as it is, if it gets hold of the stored bytes, until bt rekey --resume has been there."
    )
    return [
        "What it wrote stays; from now on it writes nothing through the group. This cannot be undone: the group gets "
        "new keys, and who is let in again gets those.",
        f"What it has read it keeps. {kept}",
    ]


def _readable(session: Session, domain: Domain, membership: Membership) -> list[BlockPath]:
    """Where a group can read, by its keys and those before; nothing where this machine cannot see that."""
    principals = {membership.principal, membership.former_principal} - {None}
    with suppress(BlocktreeError):
        return [place for who in principals if who for place in readable_places(session, domain, who)]
    return []


def _let_the_second_pass(done: GroupChanged) -> None:
    """The old keys are revoked from the next second on; who hears that it is done may rely on it."""
    if done.revoked is not None:
        time.sleep(max(0.0, now() + 1 - time.time()))


def _rekey(
    session: Session, domain: Domain, done: GroupChanged, *, lazily: bool
) -> tuple[list[tuple[BlockPath, Rekeyed]], list[BlockPath]]:
    """New keys for what the group could read; and where that could not be done.

    Lazily, a place that cannot be re-keyed from here is told, and no failure: the removal stands.
    """
    rekeyed, left = [], []
    for place in readable_places(session, domain, done.group.membership.principal):
        with choose_meter(False if lazily else None, as_json=False) as meter:
            try:
                rekeyed.append((place, rekey_place(session, domain, place, meter, lazily=lazily)))
            except BlocktreeError as error:
                if not lazily:
                    raise
                remark(visible(f"Not all of /{'/'.join(place.names)} has new keys: {error.message}"))
                left.append(place)
    return rekeyed, left


def _show_change(
    domain: Domain,
    done: GroupChanged,
    gone: Sequence[Principal],
    words: list[str],
    rekeyed: list[tuple[BlockPath, Rekeyed]],
    places: list[BlockPath],
    *,
    as_json: bool,
) -> None:
    shown = [f"{domain.petname}:/{'/'.join(place.names)}" for place in places]
    if as_json:
        give(
            {
                "group": done.group.name,
                "principal": str(done.group.membership.principal),
                "removed": [str(who) for who in gone],
                "revoked": None if done.revoked is None else str(done.revoked),
                "writecaps": done.issued,
                "refused": list(done.refused),
                "not_undone": words,
                "to_rekey": shown,
                "rekeyed": [
                    {"path": str(place), "blocks": one.blocks, "waiting": one.waiting} for place, one in rekeyed
                ],
            }
        )
        return
    for who in gone:
        say(f"{who} is out of {done.group.name}.")
    say(f"{done.group.name} is {done.group.membership.principal} now; {done.issued} writecaps were issued anew.")
    for place, one in rekeyed:
        say(f"{one.blocks} files and directories at /{'/'.join(place.names)} have new keys.")
        if one.waiting:
            say(f"{one.waiting} files there get theirs when they are written, or by bt rekey --resume.")
    for reason in done.refused:
        remark(visible(f"Not given anew, since this machine may not: {reason}"))
    for place_shown in shown:
        remark(visible(f"To give new keys to what lies there: bt rekey {place_shown}"))


def _document(domain: Domain, group: KnownGroup) -> Document:
    terms = group.membership.terms
    names = names_of(domain) | {domain.root: "root"}
    return {
        "name": group.name,
        "group": terms.group.hex(),
        "principal": str(group.membership.principal),
        "version": terms.version,
        "managed": group.managed is not None,
        "managers": [str(one.keys.principal) for one in terms.managers],
        "members": [
            {
                "principal": str(one.keys.principal),
                "name": names.get(one.keys.principal),
                "since": iso_time(one.since),
                "until": iso_time(one.until),
                "by": str(one.by),
            }
            for one in terms.members
        ],
        "former": [
            {"principal": str(one.principal), "removed": iso_time(one.removed), "by": str(one.by)}
            for one in terms.former
        ],
    }


def _lines(group: KnownGroup, names: dict[Principal, str]) -> Iterator[str]:
    def called(who: Principal) -> str:
        return f"{names[who]} ({who})" if who in names else str(who)

    membership: Membership = group.membership
    yield f"{group.called}, version {membership.terms.version}"
    for manager in membership.terms.managers:
        yield f"  managed by {called(manager.keys.principal)}"
    for member in membership.terms.members:
        over = ", over" if member.until < now() else ""
        until = f"until {human_time(member.until)} UTC{over}, added by {called(member.by)}"
        yield f"  {called(member.keys.principal)} {until}"
    for former in membership.terms.former:
        yield f"  {called(former.principal)} was put out on {human_time(former.removed)} UTC by {called(former.by)}"
