"""`bt net`: where a path is served and how that is known; and the frames of links that one owns."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from btfproto.domain import DomainReader
from btfproto.endpoints import Found, Refused, Resolution, SignedRecord, read_published, resolve
from btfproto.endpoints.discovery import discover
from btfproto.opening import book_of, memory_of
from btlib.errors import BlocktreeError
from btlib.home import Domain
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.revocations import NO_REVOCATIONS, Revocations
from bttp.capture import Captured, CaptureLines, CaptureReader, What

from ..errors import CommandError
from ..options import Json, PassphraseFile, TreePath
from ..output import Json as Document
from ..output import describe, give, human_time, iso_time, remark, say, visible
from ..session import Session, known_revocations, now, open_store

POLL_SECONDS = 0.2  #: between two looks whether a capture has grown: soon enough to read along
PIECE = 1 << 20  #: bytes of a capture that are read at once

Records = dict[BlockPath, list[SignedRecord]]

Offline = Annotated[bool, typer.Option("--offline", help="Ask no server: only what this machine remembers.")]
Mdns = Annotated[
    bool, typer.Option("--mdns", help="Also ask in the local network who says to be a server of the domain.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as the file grows, until Ctrl-C or --count.")]
Count = Annotated[int | None, typer.Option("--count", min=1, metavar="N", help="End after N lines.")]
LinkNumber = Annotated[
    int | None, typer.Option("--link", metavar="N", help="Only this link (the number after the slash).")
]
LINKS_NAMED = 20  #: where another one was asked for: what fits on a screen
Payloads = Annotated[
    bool, typer.Option("--payloads", help="Show bodies too, where they were captured: what is in messages and files.")
]
CaptureFile = Annotated[Path, typer.Argument(metavar="FILE", help="What BLOCKTREE_TAP named.", show_default=False)]


def build() -> typer.Typer:
    app = typer.Typer(help="Where paths are served, and what goes over links.", no_args_is_help=True)
    app.command("resolve")(resolve_path)
    app.command("tap")(tap)
    return app


# --- where a path is served


def resolve_path(
    path: TreePath,
    offline: Offline = False,
    mdns: Mdns = False,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show who serves PATH, and at which endpoints. Also by which signed record and until when, and which are no good.

    The longest prefix of PATH that has a good record wins. Whoever answers at an endpoint still has to prove to be that
    server.

    Examples:

      bt net resolve home:/hosts/nas/btfsd/fs

      bt net resolve home: --offline
    """
    session = Session(passphrase_file)
    domain, target = session.home.resolve(path)
    remembered, published, revocations, trouble = _known(session, domain, target, offline=offline)
    found = resolve(
        target,
        _together(remembered, published),
        now=now(),
        newest=book_of(domain).records(),
        revocations=revocations,
    )
    heard = discover(domain.root) if mdns else ()
    if json:
        give(_document(domain, found, published, heard, trouble))
    else:
        _say(domain, found, published, heard, trouble)
    if domain.server is None and not heard:
        found.require()


def _known(
    session: Session, domain: Domain, target: BlockPath, *, offline: bool
) -> tuple[Records, Records, Revocations, BlocktreeError | None]:
    """What this machine remembers, what the tree says, who is revoked, and why the tree could not be asked."""
    published: Records = {}
    trouble: BlocktreeError | None = None
    seen = memory_of(domain).load()
    revocations = NO_REVOCATIONS if seen is None else seen.seen.record.effective
    if not offline:
        try:
            with closing(open_store(domain, session.unlock(domain))) as store:
                view = known_revocations(domain, store)
                reader = DomainReader(store, domain.root, view)
                published = {place: list(records) for place, records in read_published(reader, target).items()}
                revocations = view.current
        except BlocktreeError as error:
            trouble = error
    remembered: Records = {}
    for (place, _), signed in book_of(domain).records().items():
        remembered.setdefault(place, []).append(signed)
    return remembered, published, revocations, trouble


def _together(remembered: Records, published: Records) -> Records:
    places = dict.fromkeys([*published, *remembered])
    return {
        place: [
            *published.get(place, []),
            *(signed for signed in remembered.get(place, []) if signed not in published.get(place, [])),
        ]
        for place in places
    }


def _say(
    domain: Domain, found: Resolution, published: Records, heard: tuple[str, ...], trouble: BlocktreeError | None
) -> None:
    say(visible(_shown(domain, found.target)))
    for each in found.found:
        record = each.record
        say(visible(f"  record      {_shown(domain, record.path)}, {_source(each, published)}"))
        say(visible(f"  server      {_shown(domain, record.server)}"))
        for endpoint in record.endpoints:
            say(visible(f"  endpoint    {endpoint}"))
        say(f"  issued      {human_time(record.issued)} by {each.signed.signer.principal}")
        say(f"  until       {human_time(record.expires)}")
    if domain.server is not None:
        say(visible(f"  configured  {domain.server}, tried first, as {_shown(domain, domain.server_path)}"))
    for endpoint in heard:
        say(visible(f"  heard       {endpoint}, which anybody may say"))
    for refusal in found.refused:
        say(visible(f"  refused     {_shown(domain, refusal.path)}: {refusal.reason}"))
    if trouble is not None:
        remark(visible(f"The tree could not be asked; this is what is remembered here. {trouble}"))


def _document(
    domain: Domain, found: Resolution, published: Records, heard: tuple[str, ...], trouble: BlocktreeError | None
) -> Document:
    return {
        "path": str(found.target),
        "endpoints": list(found.endpoints),
        "found": [_found(each, published) for each in found.found],
        "configured": domain.server,
        "heard": list(heard),
        "refused": [_refused(refusal) for refusal in found.refused],
        "error": None if trouble is None else describe(trouble),
    }


def _found(each: Found, published: Records) -> Document:
    record = each.record
    return {
        "path": str(record.path),
        "server": str(record.server),
        "endpoints": list(record.endpoints),
        "issued": iso_time(record.issued),
        "expires": iso_time(record.expires),
        "signer": str(each.signed.signer.principal),
        "source": _source(each, published),
    }


def _refused(refusal: Refused) -> Document:
    server = None if refusal.server is None else str(refusal.server)
    return {"path": str(refusal.path), "server": server, "kind": refusal.kind.name, "reason": refusal.reason}


def _source(each: Found, published: Records) -> str:
    return "in the tree" if each.signed in published.get(each.record.path, []) else "remembered here"


def _shown(domain: Domain, path: BlockPath) -> str:
    return f"{domain.petname}:/{'/'.join(path.names)}"


# --- frames


def tap(
    file: CaptureFile,
    follow: Follow = False,
    link: LinkNumber = None,
    payloads: Payloads = False,
    count: Count = None,
    json: Json = False,
) -> None:
    """Print the frames of links, as an end wrote them down. A line has time (UTC), process and link, direction, frame.

    Links are encrypted, so only a program at one end can show them. Start it with BLOCKTREE_TAP=FILE: btfsd, btfuse and
    bt write the frames of all their links there, into a file of yours alone. Proofs of identity are never written, and
    bodies only with BLOCKTREE_TAP_BODIES=1.

    Examples:

      BLOCKTREE_TAP=/tmp/frames.tap bt ls home:

      bt net tap /tmp/frames.tap --follow
    """
    if follow and json and count is None:
        raise CommandError("with --json the frames are one document at its end", hint="say when it ends: --count N")
    with file.open("rb") as stream:
        records = islice(_records(stream, follow=follow, link=link), count)
        lines = CaptureLines()
        if json:
            give({"frames": [_frame(lines, record, payloads=payloads) for record in records]})
            return
        for record in records:
            say(visible(lines.line(record)))
            if payloads and (body := lines.payload(record)):
                say(f"    {body}")


def _records(stream: BinaryIO, *, follow: bool, link: int | None) -> Iterator[Captured]:
    """Of one link, or of all. Raises CommandError (NOT_FOUND) where the link is not there, unless it may still come."""
    reader, links = CaptureReader(), dict[int, None]()
    while True:
        data = stream.read(PIECE)
        for record in reader.feed(data):
            links[record.link] = None
            if link in (None, record.link):
                yield record
        if not data:
            if not follow:
                break
            time.sleep(POLL_SECONDS)
    if link is not None and link not in links:
        raise CommandError(
            f"no frame of link {link} is in {stream.name}", kind=Kind.NOT_FOUND, hint=_known_links(links)
        )


def _known_links(links: Iterable[int]) -> str:
    known = sorted(links)
    if not known:
        return "no frame is there yet: see bt net tap --help"
    more = "" if len(known) <= LINKS_NAMED else f" and {len(known) - LINKS_NAMED} more"
    return f"these are there: {', '.join(map(str, known[:LINKS_NAMED]))}{more}"


def _frame(lines: CaptureLines, record: Captured, *, payloads: bool) -> Document:
    text = lines.line(record).partition("  ")[2]
    shown: dict[str, Document] = {
        "time": record.time / 1e6,
        "process": record.process,
        "link": record.link,
        "what": record.what.name.lower(),
        "text": text,
    }
    if record.what is not What.REMARK:
        shown |= {"frame": record.name, "stream": record.stream, "size": record.size}
        if payloads:
            shown["body"] = record.body.hex()
    return shown
