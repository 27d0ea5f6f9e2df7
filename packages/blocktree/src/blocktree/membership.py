"""Making a machine a member: its keys and request, the answer to that, and what it keeps of it.

The steps are the same whether the messages travel as files (`bt enroll`) or over a link (`bt invite`, `bt join`).
"""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from btfproto.domain import DomainReader, read_held, renewal_from
from btlib.credentials import CredentialStore
from btlib.errors import BlocktreeError
from btlib.home import Domain, DomainSettings, Home, open_credential_store
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.writecaps import Chain

from .asking import new_passphrase
from .delegating import Enrolment
from .enrolment import Response, ResponseTerms, make_request, make_response
from .errors import CommandError
from .key_places import KeyPlace
from .output import remark
from .session import Session, open_store


def own_name() -> str:
    """The name that a machine wishes for, unless its user says another."""
    return socket.gethostname().partition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A machine whose keys were made and lie in a pending directory."""

    petname: str
    name: str
    principal: Principal
    text: str  #: of its request
    passphrase: str = field(repr=False)


@contextmanager
def asking(
    home: Home, petname: str, place: KeyPlace, name: str, suite: str | None, passphrase_file: Path | None, moment: int
) -> Iterator[Asking]:
    """Make a machine's keys and its request. If the block fails, they are removed again."""
    chosen = place.suite(suite)
    pending = home.begin(petname)
    try:
        store = place.machine(_pending_credentials_file(home, petname))
        secret = new_passphrase(f"this machine in {petname}", passphrase_file)
        principal = store.generate(chosen, secret).principal
        text = make_request(store.unlock(secret).signer, name, moment)
        yield Asking(petname=petname, name=name, principal=principal, text=text, passphrase=secret)
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a new machine is sent."""

    text: str
    ends: int  #: the last second of the membership
    chains: tuple[Chain, ...]


def _issuer(session: Session, domain: Domain, moment: int) -> Identity:
    """This machine. Where what it holds nears its end, with what the records gave it since, if they can be had."""
    identity = session.unlock(domain)
    if not any(chain.last is not None and renewal_from(chain.last) <= moment for chain in identity.chains):
        return identity
    try:
        with closing(open_store(domain, identity)) as store:
            return read_held(DomainReader(store, domain.root), identity).identity
    except BlocktreeError as error:
        remark(f"bt: what this machine was given lately is not known here: {error}")
        return identity


def answer(
    session: Session, domain: Domain, subject: Principal, host: str, server: str | None, *, moment: int, until: int
) -> Answer:
    """Sign a machine's membership. Raises CapabilityError where this one may not."""
    identity = _issuer(session, domain, moment)
    chains = Enrolment(
        issuer=identity,
        root=domain.root,
        subject=subject,
        host=host,
        now=moment,
        until=until,
        random=secrets.token_bytes,
    ).chains()
    terms = ResponseTerms(
        subject=subject,
        host=host,
        root=chains[0].caps[0].issuer,
        chains=chains,
        server=server,
        server_path=str(domain.server_path),
        issued=moment,
    )
    ends = min(chain.caps[-1].not_after for chain in chains)
    return Answer(text=make_response(identity.signer, terms), ends=ends, chains=chains)


@dataclass(frozen=True)
class Place:
    """Where the keys lie that a response is for: in a pending enrolment, or in a domain that is being renewed."""

    petname: str
    credentials: CredentialStore
    domain: Domain | None


def find_place(home: Home, response: Response) -> Place:
    """Raises CommandError where no keys here are those that the response is for."""
    subject = response.terms.subject
    pending = [
        Place(petname, open_credential_store(_pending_credentials_file(home, petname), home.tcti), None)
        for petname in home.pending()
    ]
    joined = [Place(domain.petname, domain.credentials, domain) for domain in _domains_of(home, response.root)]
    for place in [*pending, *joined]:
        try:
            if place.credentials.public().principal == subject:
                return place
        except BlocktreeError:
            continue
    raise CommandError(
        f"this response is for {subject}, and no request from here with that fingerprint is waiting",
        kind=Kind.NOT_FOUND,
        hint="begin with: bt enroll request",
    )


def become_member(home: Home, place: Place, response: Response, secret: str, server: str | None) -> Domain:
    """Keep the chains and the settings that the response brings; a renewed domain keeps what it does not speak of."""
    place.credentials.add_chains(secret, *response.terms.chains)
    terms, known = response.terms, place.domain
    settings = DomainSettings(
        root=response.root,
        host=terms.host,
        store=known.settings.store if known else None,
        server=server or terms.server or (known.server if known else None),
        server_path=BlockPath.parse(terms.server_path),
    )
    if known is None:
        return home.admit(home.pending_domain(place.petname, settings))
    renewed = replace(known, settings=settings)
    renewed.save()
    return renewed


def _domains_of(home: Home, root: Principal) -> list[Domain]:
    try:
        return [home.domain(root)]
    except BlocktreeError:
        return []


def _pending_credentials_file(home: Home, petname: str) -> Path:
    return home.pending_directory(petname) / "credentials"
