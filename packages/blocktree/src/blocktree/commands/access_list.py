"""`bt access list`: who can read, write and execute at a path, through which chain, until when."""

from __future__ import annotations

from dataclasses import dataclass

from btfproto.domain import Access, AccessExplanation, DomainReader, Place, Survey, explain_granted, survey_records
from btlib.home import Domain
from btlib.paths import BlockPath
from btlib.principals import Principal
from btlib.writecaps import Chain

from ..groups import KnownGroup, known_groups
from ..options import Json, PassphraseFile, TreePath
from ..output import Json as Document
from ..output import give, human_time, iso_time, remark, say, visible
from ..places import places_above
from ..principals import names_of
from ..session import Session, known_revocations, now

NOT_SHOWN = (
    "Not shown: what passed from hand to hand and stands in no record, such as the membership of an enrolled machine; "
    "and keys that somebody kept after they were withdrawn."
)
POWERS = ("read", "write", "execute")
WITHDRAWN = ("revocation", "time", "epoch", "membership")  #: the steps at which something fails that was once given


@dataclass(frozen=True, kw_only=True)
class Row:
    """One principal at the path."""

    answer: AccessExplanation
    name: str | None
    revoked: int | None  #: since when
    group: bool = False

    @property
    def concerned(self) -> bool:
        """Whether it can do anything, or could but for its revocation."""
        powers = (self.answer.read, self.answer.write, self.answer.execute)
        return any(power.allowed or power.failed in WITHDRAWN for power in powers)


def list_access(path: TreePath, json: Json = False, passphrase_file: PassphraseFile = None) -> None:
    """List who can do what at a path. Also through which chain, and until when.

    It goes by the public records of the domain. Who could but for an expired or revoked right, or a changed key, is
    listed with the reason.

    Example: bt access list home:/photos
    """
    session = Session(passphrase_file)
    domain, place = session.home.resolve(path)
    with session.attach_local(domain, [place]) as (tree, provider, store):
        view = known_revocations(domain, store)
        reader = DomainReader(store, domain.root, view)
        survey = survey_records(reader)
        places = places_above(tree, provider, place)
        revoked = view.current.principals
        groups = _groups(known_groups(domain, store, session.unlock(domain)))
        names = names_of(domain) | groups
        rows = [
            Row(
                answer=explain_granted(reader, places, place, principal, now()),
                name="root" if principal == domain.root else names.get(principal),
                revoked=revoked.get(principal),
                group=principal in groups,
            )
            for principal in _principals(domain, reader, survey, places)
        ]
    shown = [row for row in rows if row.concerned]
    if json:
        give({"path": str(place), "principals": [_document(row) for row in shown], "refused_records": survey.refused})
        return
    _show(domain, place, shown, names)
    if survey.refused:
        remark(f"{survey.refused} records do not verify and were left out; bt scrub names them.")
    remark(NOT_SHOWN)


def _principals(domain: Domain, reader: DomainReader, survey: Survey, places: list[Place]) -> list[Principal]:
    """The root, and all that were granted something in the scopes of the place, or are in a group that was."""
    lineage = reader.lineage(places[-1].scope)
    granted = {found.grants.principal for found in survey.grants if found.header.scope in lineage}
    for one in survey.groups:
        if one.membership.principal in granted:
            granted |= {member.keys.principal for member in one.membership.terms.members}
    return [domain.root, *sorted(granted - {domain.root}, key=str)]


def _groups(groups: list[KnownGroup]) -> dict[Principal, str]:
    """What groups are called here, by the principal that each is."""
    return {group.membership.principal: group.name or "a group" for group in groups}


def _show(domain: Domain, place: BlockPath, rows: list[Row], names: dict[Principal, str]) -> None:
    say(visible(f"{domain.petname}:/{'/'.join(place.names)}"))
    for row in rows:
        who = row.answer.principal
        kind = "group " if row.group and row.name != "a group" else ""
        say(visible(str(who) if row.name is None else f"{kind}{row.name} ({who})"))
        for power in POWERS:
            access = getattr(row.answer, power)
            if access.allowed:
                end = "no end" if access.until is None else f"until {human_time(access.until)} UTC"
                way = _reading(access, names) if power == "read" else _way(domain, access.chain, names)
                say(visible(f"  {power:<8}{end}, {way}"))
            elif access.failed in WITHDRAWN:
                say(visible(f"  {power:<8}no: {access.reason}".replace(f"/{domain.root}", f"{domain.petname}:")))


def _reading(access: Access, names: dict[Principal, str]) -> str:
    """By whose readcap."""
    return "by a readcap" if access.via is None else f"by a readcap of {names.get(access.via, access.via.short)}"


def _way(domain: Domain, chain: Chain | None, names: dict[Principal, str]) -> str:
    """Through whose hands a right came."""
    if chain is None or not chain.caps:
        return "as the root"
    holders = [cap.issuer.principal for cap in chain.caps]
    called = ["root" if holder == domain.root else names.get(holder, holder.short) for holder in holders]
    return f"by {' → '.join(called)}"


def _document(row: Row) -> Document:
    powers: dict[str, Document] = {}
    for power in POWERS:
        access = getattr(row.answer, power)
        caps = () if access.chain is None else access.chain.caps
        powers[power] = {
            "allowed": access.allowed,
            "failed": access.failed,
            "until": None if access.until is None else iso_time(access.until),
            "via": None if access.via is None else str(access.via),
            "chain": [{"issuer": str(cap.issuer.principal), "serial": cap.serial.hex()} for cap in caps],
            "reason": access.reason,
        }
    return {
        "principal": str(row.answer.principal),
        "name": row.name,
        "group": row.group,
        "revoked_since": None if row.revoked is None else iso_time(row.revoked),
        **powers,
    }
