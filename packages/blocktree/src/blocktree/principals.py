"""Principals that this machine has met: the requests it signed, kept beside the domain's settings.

A principal's name is a fingerprint; to give it a readcap one needs the keys behind it. A request file holds them,
signed by themselves, so it is kept as it came: `<config>/domains/<petname>/principals/<bt1…>.request`.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def remember(domain: Domain, request: Request, text: str) -> None:
    """Keep a signed request, under its principal."""
    directory = domain.directory / "principals"
    make_private_directory(directory)
    file = directory / f"{request.principal}{SUFFIX}"
    with local_errors(file):
        file.write_text(text, encoding="ascii")


def known(domain: Domain) -> Iterator[Request]:
    """All requests kept; a damaged one is left out, since it can be had again."""
    for file in sorted((domain.directory / "principals").glob(f"*{SUFFIX}")):
        try:
            yield read_request(read_text(file))
        except BlocktreeError:
            continue


def find_principal(domain: Domain, text: str) -> Request:
    """Whom a user means by `bt1…`, by a host's name, or by the path of a request file. Raises CommandError."""
    if text.endswith(SUFFIX) or "/" in text:
        return read_request(read_text(Path(text)))
    wanted = Principal.parse(text) if text.startswith("bt1") else None
    found = [request for request in known(domain) if text == request.terms.host or request.principal == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(request.principal) for request in found)
        raise CommandError(f"several machines are called {text}: {names}", hint="use the principal instead")
    raise CommandError(
        f"the keys of {text} are not known on this machine, where its enrolment was not signed",
        kind=Kind.NOT_FOUND,
        hint="give its request file instead",
    )
