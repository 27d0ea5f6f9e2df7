"""The contact book: names that a user gave to principals, of this domain or any other, with their keys.

    <config>/contacts/<name>.request        a line with the name, then the card as it came

A card is a request file: public keys, signed by themselves. The name is local, like a petname. What stands under a name
does not change by itself: another key under a known name is refused until somebody says that it is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from btlib.home import Domain, Home, check_petname, make_private_directory
from btlib.kinds import Kind
from btlib.principals import Principal

from .errors import CommandError
from .files.local import local_errors
from .principals import SUFFIX, Member, contacts_directory, keep_member, kept_member, kept_members, members


def contacts(home: Home) -> list[Member]:
    """All contacts, by name."""
    return list(kept_members(contacts_directory(home.config)))


def contact(home: Home, name: str) -> Member:
    """The contact of a name. Raises CommandError (NOT_FOUND)."""
    found = kept_member(_file(home, name))
    if found is None:
        raise CommandError(f"there is no contact called {name}", kind=Kind.NOT_FOUND, hint="see: bt contact list")
    return found


def add_contact(home: Home, name: str, card: Member, *, new_key: bool) -> Principal | None:
    """Keep a card under a name; the principal that it replaces. Raises CommandError where another key is known."""
    before = known_as(home, name)
    fresh = card.request.principal
    changed = next((principal for principal in before if principal != fresh), None)
    if changed is not None and not new_key:
        raise key_changed(name, changed, fresh, f"bt contact add {name} FILE --new-key")
    make_private_directory(contacts_directory(home.config))
    keep_member(_file(home, name), Member(name, card.request, card.text))
    return changed


def remove_contact(home: Home, name: str) -> Member:
    """Forget a contact. What it was granted stays."""
    gone = contact(home, name)
    file = _file(home, name)
    with local_errors(file):
        file.unlink()
    return gone


def known_as(home: Home, name: str) -> list[Principal]:
    """Whom a name means here, as a contact; where there is none, as a machine that was enrolled here."""
    found = kept_member(_file(home, name))
    if found is not None:
        return [found.request.principal]
    return list(_machines(home.domains(), name))


def refuse_changed_key(domain: Domain, home: Home, card: Member) -> None:
    """A card that calls itself by a known name, and has another key than that, is refused. Raises CommandError."""
    fresh, name = card.request.principal, card.host
    if not _is_name(name):
        return
    found = kept_member(_file(home, name))
    before = [found.request.principal] if found is not None else list(_machines([domain], name))
    if before and fresh not in before:
        raise key_changed(name, before[0], fresh, f"bt contact add {name} FILE --new-key")


def key_changed(name: str, before: Principal, fresh: Principal, confirm: str) -> CommandError:
    """The warning that is not to be overlooked."""
    return CommandError(
        f"WARNING: THE KEY OF {name} HAS CHANGED. It was {before}, and this is {fresh}: new keys of the same, or "
        "somebody else who calls himself so. Nothing was done",
        kind=Kind.FORBIDDEN,
        hint=f"compare the new fingerprint with {name} in person or by voice; if it is right: {confirm}",
    )


def _machines(domains: list[Domain], name: str) -> Iterator[Principal]:
    yield from (member.request.principal for domain in domains for member in members(domain) if member.host == name)


def _is_name(name: str) -> bool:
    try:
        return bool(check_petname(name))
    except CommandError:
        return False


def _file(home: Home, name: str) -> Path:
    return contacts_directory(home.config) / f"{check_petname(name)}{SUFFIX}"
