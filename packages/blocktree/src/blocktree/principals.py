"""Principals that this machine has met: the requests it signed, kept beside the domain's settings.

A principal's name is a fingerprint; to give it a readcap one needs the keys behind it. A request file holds them,
signed by themselves, so it is kept as it came, after a line with the name under which it was enrolled:
`<config>/domains/<petname>/principals/<bt1…>.request`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from btlib.errors import BlocktreeError
from btlib.home import Domain, make_private_directory
from btlib.kinds import Kind
from btlib.principals import Principal

from .enrolment import FILE_LIMIT, Request, read_request
from .errors import CommandError
from .files.local import local_errors

SUFFIX = ".request"


def read_text(file: Path) -> str:
    """An enrolment file's text. Raises BlocktreeError."""
    with local_errors(file), file.open("rb") as stream:
        content = stream.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise CommandError(
            f"{file} is longer than {FILE_LIMIT} bytes and so no enrolment file",
            hint="look whether it is the file that was meant",
        )
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{file} is no enrolment file: it holds other bytes than text",
            hint="look whether it is the file that was meant",
        ) from error


@dataclass(frozen=True)
class Member:
    """Somebody whose enrolment was signed here: the request, its text, and the name given."""

    host: str
    request: Request
    text: str


def read_member(file: Path) -> Member:
    """Somebody by a request file, under the name that it wishes for. Raises BlocktreeError."""
    text = read_text(file)
    request = read_request(text)
    return Member(request.terms.host, request, text)


def remember(domain: Domain, member: Member) -> None:
    """Keep somebody whose enrolment was signed."""
    directory = domain.directory / "principals"
    make_private_directory(directory)
    keep_member(directory / f"{member.request.principal}{SUFFIX}", member)


def keep_member(file: Path, member: Member) -> None:
    """Write the name and the request. Raises BlocktreeError."""
    with local_errors(file):
        file.write_text(f"{json.dumps(member.host)}\n{member.text}", encoding="ascii")


def members(domain: Domain) -> Iterator[Member]:
    """All whose enrolment was signed here."""
    return kept_members(domain.directory / "principals")


def contacts_directory(config: Path) -> Path:
    """Where the contact book lies; see `contacts`."""
    return config / "contacts"


def kept_members(directory: Path) -> Iterator[Member]:
    """All that are kept; a damaged one is left out, since it can be had again."""
    for file in sorted(directory.glob(f"*{SUFFIX}")):
        found = kept_member(file)
        if found is not None:
            yield found


def kept_member(file: Path) -> Member | None:
    """One that is kept; None where it is not there, or damaged."""
    try:
        host, _, text = read_text(file).partition("\n")
        return Member(str(json.loads(host)), read_request(text), text)
    except (BlocktreeError, ValueError):
        return None


def find_member(domain: Domain, text: str) -> Member:
    """Whom a user means by `bt1…`, by the name of a contact or machine, or by the path of a request file.

    A contact comes before a machine of the same name. Raises CommandError.
    """
    if text.endswith(SUFFIX) or "/" in text:
        return read_member(Path(text))
    wanted = Principal.parse(text) if text.startswith("bt1") else None
    for known in (_contacts(domain), members(domain)):
        found = [member for member in known if text == member.host or member.request.principal == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            break
    if found:
        names = ", ".join(str(member.request.principal) for member in found)
        raise CommandError(f"several machines are called {text}: {names}", hint="use the principal instead")
    raise CommandError(
        f"the keys of {text} are not known on this machine, where its enrolment was not signed",
        kind=Kind.NOT_FOUND,
        hint="give its request file instead, or keep that: bt contact add NAME FILE",
    )


def find_principal(domain: Domain, text: str) -> Principal:
    """The same, where the name of keys is enough: `bt1…` need not be known here."""
    return Principal.parse(text) if text.startswith("bt1") else find_member(domain, text).request.principal


def name_of(domain: Domain, principal: Principal) -> str | None:
    """What somebody is called here, as a contact or as it was enrolled; None where it is not known."""
    return names_of(domain).get(principal)


def names_of(domain: Domain) -> dict[Principal, str]:
    """What everybody is called who is known here."""
    known = (*members(domain), *_contacts(domain))
    return {member.request.principal: member.host for member in known}


def _contacts(domain: Domain) -> Iterator[Member]:
    """The contact book beside a domain: `<config>/domains/<petname>` and `<config>/contacts`."""
    return kept_members(contacts_directory(domain.directory.parent.parent))
