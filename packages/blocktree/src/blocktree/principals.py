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
        raise CommandError(f"{file} is longer than {FILE_LIMIT} bytes and so no enrolment file")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is no enrolment file: it holds other bytes than text") from error


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
    file = directory / f"{member.request.principal}{SUFFIX}"
    with local_errors(file):
        file.write_text(f"{json.dumps(member.host)}\n{member.text}", encoding="ascii")


def members(domain: Domain) -> Iterator[Member]:
    """All that are kept; a damaged one is left out, since it can be had again."""
    for file in sorted((domain.directory / "principals").glob(f"*{SUFFIX}")):
        try:
            host, _, text = read_text(file).partition("\n")
            yield Member(str(json.loads(host)), read_request(text), text)
        except (BlocktreeError, ValueError):
            continue


def find_member(domain: Domain, text: str) -> Member:
    """Whom a user means by `bt1…`, by a machine's name, or by the path of a request file. Raises CommandError."""
    if text.endswith(SUFFIX) or "/" in text:
        return read_member(Path(text))
    wanted = Principal.parse(text) if text.startswith("bt1") else None
    found = [member for member in members(domain) if text == member.host or member.request.principal == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(member.request.principal) for member in found)
        raise CommandError(f"several machines are called {text}: {names}", hint="use the principal instead")
    raise CommandError(
        f"the keys of {text} are not known on this machine, where its enrolment was not signed",
        kind=Kind.NOT_FOUND,
        hint="give its request file instead",
    )


def find_principal(domain: Domain, text: str) -> Principal:
    """The same, where the name of keys is enough: `bt1…` need not be known here."""
    return Principal.parse(text) if text.startswith("bt1") else find_member(domain, text).request.principal


def name_of(domain: Domain, principal: Principal) -> str | None:
    """Under which name somebody was enrolled here; None where it was not."""
    return next((member.host for member in members(domain) if member.request.principal == principal), None)
