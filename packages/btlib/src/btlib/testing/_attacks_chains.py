"""Attacks with chains of writecaps: forged, widened, spliced, cut, outlived, taken back."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
from btserde import encode

from ..paths import BlockPath
from ..revocations import Revocations
from ..writecaps import Chain, Rights
from ._attack import Judge, Question, attack, refuse
from ._forging import NOON, Terms, append, forge, signed
from ._identities import ROOT_SCOPE, make_keys

ROOT, ALICE, BOB, CAROL, EVE = (make_keys(name) for name in ("root", "alice", "bob", "carol", "eve"))
HOLDERS = [ROOT, ALICE, BOB, CAROL]
INNER_SCOPE, INMOST_SCOPE, OTHER_SCOPE = b"an inner scope..", b"an inmost scope.", b"some other scope"

FIRST = Terms(names=("a",))
SECOND = FIRST.but(names=("a", "b"), scope=INNER_SCOPE, begins=10, ends=NOON + 100)
THIRD = SECOND.but(names=("a", "b", "c"), scope=INMOST_SCOPE, begins=20, may_delegate=False)
GOOD = forge(HOLDERS, [FIRST, SECOND, THIRD])
QUESTION = Question(
    root=ROOT.public.principal,
    subject=CAROL.public.principal,
    now=NOON,
    path=BlockPath(ROOT.public.principal, ("a", "b", "c", "file")),
    lineage=(INMOST_SCOPE, INNER_SCOPE, ROOT_SCOPE),
)


def _question(**changes: Any) -> Question:
    fields = {name: getattr(QUESTION, name) for name in Question.__dataclass_fields__}
    return Question(**fields | changes)


def _refused(judge: Judge, what: str, chain: Chain = GOOD, **changes: Any) -> None:
    """This chain for this question, where the good one is taken for the plain question."""
    assert judge.allows(encode(GOOD), QUESTION), "a good chain was refused"
    refuse(lambda: judge.allows(encode(chain), _question(**changes)), what)


def _with_terms(number: int, **changes: Any) -> Chain:
    """The good chain, truly signed, with one cap's terms changed."""
    terms = [FIRST, SECOND, THIRD]
    terms[number - 1] = terms[number - 1].but(**changes)
    return forge(HOLDERS, terms)


def _with_cap(number: int, **changes: Any) -> Chain:
    """The good chain with one cap changed after it was signed."""
    caps = list(GOOD.caps)
    caps[number - 1] = msgspec.structs.replace(caps[number - 1], **changes)
    return Chain(tuple(caps))


@attack("forged-writecap", "a cap signed by somebody else, by nobody, or with zeros")
def forged(judge: Judge) -> None:
    for number in (1, 2, 3):
        parent = Chain(GOOD.caps[: number - 1])
        by_eve = signed(parent, GOOD.caps[number - 1], EVE).signature
        for signature in (by_eve, b"", bytes(64)):
            _refused(judge, f"a forged cap {number}", _with_cap(number, signature=signature))


@attack("changed-writecap", "a cap whose terms were changed after it was signed")
def changed(judge: Judge) -> None:
    changes: list[dict[str, Any]] = [
        {"path": GOOD.caps[1].path}, {"not_before": 15}, {"not_after": NOON + 99}, {"may_delegate": True},
        {"rights": int(Rights.WRITE)}, {"serial": bytes(16)}, {"scope": INNER_SCOPE},
    ]  # fmt: skip
    for change in changes:
        _refused(judge, f"a cap with other {next(iter(change))}", _with_cap(3, **change))
    moved = _with_cap(3, subject=EVE.public.principal)
    _refused(judge, "a cap made over to another", moved, subject=EVE.public.principal)


@attack("widened-path", "a delegate gives more of the tree than it has: above, beside, in another domain")
def widened_path(judge: Judge) -> None:
    for names in ((), ("a",), ("a", "x"), ("x",)):
        _refused(judge, "a path that widens", _with_terms(3, names=names), path=None)
    _refused(judge, "a path in another domain", _with_terms(3, root="eve"), path=None)


@attack("widened-rights", "a delegate gives a right that it does not have")
def widened_rights(judge: Judge) -> None:
    narrow = forge(HOLDERS, [FIRST, SECOND.but(rights=int(Rights.WRITE)), THIRD])
    _refused(judge, "a right that grew", narrow, right=Rights.EXECUTE)
    _refused(judge, "a right that changed", forge(HOLDERS, [FIRST.but(rights=2), SECOND.but(rights=1), THIRD]))
    only_write = _with_terms(3, rights=int(Rights.WRITE))
    _refused(judge, "one right for the other", only_write, right=Rights.EXECUTE)


@attack("widened-time", "a delegate gives a longer time than it has")
def widened_time(judge: Judge) -> None:
    _refused(judge, "a time that begins earlier", _with_terms(3, begins=9))
    _refused(judge, "a time that ends later", _with_terms(3, ends=NOON + 101))


@attack("widened-delegation", "one who may not delegate delegates")
def widened_delegation(judge: Judge) -> None:
    _refused(judge, "a delegation by who may not", _with_terms(2, may_delegate=False))
    _refused(judge, "a delegation by who may not", _with_terms(1, may_delegate=False))


@attack("widened-scope", "a cap for an inner write scope is used outside, or climbs out again")
def widened_scope(judge: Judge) -> None:
    for lineage in ([], [OTHER_SCOPE], [OTHER_SCOPE, ROOT_SCOPE], [INNER_SCOPE, ROOT_SCOPE], [ROOT_SCOPE]):
        _refused(judge, "a block of another scope", lineage=lineage)
    climbing = forge(HOLDERS, [FIRST.but(scope=INNER_SCOPE), SECOND.but(scope=ROOT_SCOPE), THIRD])
    _refused(judge, "a scope that climbs", climbing)


@attack("expired-chain", "a chain after its end, or after that of a cap above")
def expired(judge: Judge) -> None:
    assert judge.allows(encode(GOOD), _question(now=NOON + 100)), "the last second belongs to the time"
    for now in (NOON + 101, 2 * NOON, 2**62):
        _refused(judge, "an expired chain", now=now)


@attack("early-chain", "a chain before its beginning")
def early(judge: Judge) -> None:
    assert judge.allows(encode(GOOD), _question(now=20)), "the first second belongs to the time"
    for now in (19, 0, -1):
        _refused(judge, "a chain before its time", now=now)


@attack("truncated-chain", "a chain whose beginning, middle or end was left out")
def truncated(judge: Judge) -> None:
    first, second, third = GOOD.caps
    for caps in ((), (second, third), (first, third), (third,)):
        _refused(judge, f"a chain of {len(caps)} of its caps", Chain(caps))
    _refused(judge, "a chain without its end", Chain((first, second)))


@attack("reordered-chain", "a chain with its caps in another order, or one of them twice")
def reordered(judge: Judge) -> None:
    first, second, third = GOOD.caps
    for caps in ((first, third, second), (second, first, third), (first, second, second, third)):
        _refused(judge, "a chain in another order", Chain(caps))


@attack("chain-of-another", "somebody shows a chain that was issued to another, or to one above")
def of_another(judge: Judge) -> None:
    for keys in (EVE, BOB, ALICE):
        _refused(judge, "another's chain", subject=keys.public.principal)


@attack("chain-spliced-between-domains", "what was delegated in one domain is shown in another")
def spliced_domains(judge: Judge) -> None:
    other = make_keys("other root")
    theirs = forge([other, ALICE], [Terms(root="other root")])
    spliced = Chain((*theirs.caps, GOOD.caps[1]))
    place: dict[str, Any] = {"path": None, "lineage": None, "subject": BOB.public.principal}
    _refused(judge, "a cap of another domain", spliced, root=other.public.principal, **place)
    delegated = append(theirs, ALICE, BOB, Terms(root="other root"), 2)
    moved = Chain((*forge([ROOT, ALICE], [Terms()]).caps, delegated.caps[1]))
    _refused(judge, "a cap of another domain", moved, **place)
    _refused(judge, "a chain of another root", root=EVE.public.principal)


@attack("chain-spliced-between-chains", "what was delegated under a short time is shown under a longer one")
def spliced_chains(judge: Judge) -> None:
    longer = forge(HOLDERS, [FIRST.but(ends=9 * NOON), SECOND, THIRD])
    _refused(judge, "caps under another beginning", Chain((longer.caps[0], *GOOD.caps[1:])))
    _refused(judge, "another cap's signature", _with_cap(3, signature=longer.caps[2].signature))


@attack("path-prefix-confusion", "/a/b/c is used for /a/b/cc, and /a is delegated as /ab")
def prefix(judge: Judge) -> None:
    root = ROOT.public.principal
    for names in (("a", "b", "cc"), ("a", "b", "c."), ("a", "b", "c "), ("ab",), ("a", "b"), ()):
        _refused(judge, f"the path {'/'.join(names)}", path=BlockPath(root, names))
    _refused(judge, "a path with the same beginning", _with_terms(2, names=("ab",)), path=None)


@attack("path-normal-forms", "a name in another Unicode normal form, or of another case, counts as the same")
def normal_forms(judge: Judge) -> None:
    root = ROOT.public.principal
    for name in ("Übung", "ﬁle", "Å", "é", "ſ"):
        chain = forge([ROOT, ALICE], [Terms(names=(name,))])
        place = {"subject": ALICE.public.principal, "lineage": None}
        assert judge.allows(encode(chain), _question(path=BlockPath(root, (name, "x")), **place)), name
        forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")}
        for other in (forms | {name.lower(), name.upper(), name.casefold()}) - {name}:
            _refused(judge, f"{other!a} for {name!a}", chain, path=BlockPath(root, (other, "x")), **place)


@attack("revoked-serial", "a chain of which a cap was taken back, at the very second and after")
def revoked_serial(judge: Judge) -> None:
    for cap in GOOD.caps:
        later = Revocations(serials={cap.serial: NOON + 1})
        assert judge.allows(encode(GOOD), _question(revocations=later)), "a revocation counted before its moment"
        for since in (NOON, NOON - 1, 0):
            _refused(judge, "a revoked cap", revocations=Revocations(serials={cap.serial: since}))


@attack("revoked-principal", "a chain through somebody who was revoked: its holder, or who delegated to it")
def revoked_principal(judge: Judge) -> None:
    for keys in (ALICE, BOB, CAROL):
        for since in (NOON, NOON - 1, 0):
            gone = Revocations(principals={keys.public.principal: since})
            _refused(judge, "a chain through a revoked principal", revocations=gone)
    other = Revocations(principals={EVE.public.principal: 0}, serials={bytes(16): 0})
    assert judge.allows(encode(GOOD), _question(revocations=other)), "others' revocations counted"
