"""`verify_chain` against a second, obvious implementation, on chains that are right or wrong in every way at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
from btlib import BlockPath, Chain, Label, Principal, Revocations, Rights, Writecap, verify_chain
from btlib.errors import SignatureError
from btlib.testing import make_keys
from btlib.testing._forging import Terms, append
from hypothesis import event, given, settings
from hypothesis import strategies as st

PEOPLE = [make_keys(name) for name in ("root", "alice", "bob")]
SCOPES = [b"scope number one", b"scope number two"]
PLACES = [(), ("a",), ("ab",), ("a", "b")]

people = st.sampled_from(PEOPLE)
moments = st.integers(0, 12)
mostly = st.sampled_from([True] * 6 + [False])  # what most often must hold for a chain to be good


@dataclass(frozen=True)
class Question:
    root: Principal
    subject: Principal
    right: Rights
    now: int
    path: BlockPath | None
    lineage: Sequence[bytes] | None
    revocations: Revocations


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    chain, holder = Chain(), PEOPLE[0]
    for number in range(1, draw(st.integers(0, 3)) + 1):
        signer = holder if draw(mostly) else draw(people)
        holder = draw(people)
        terms = Terms(
            names=draw(st.sampled_from(PLACES)) if number > 1 or not draw(mostly) else (),
            root="root" if draw(mostly) else "alice",
            rights=draw(st.sampled_from([3, 3, 1, 2])),
            begins=0 if draw(mostly) else draw(st.integers(0, 3)),
            ends=10 if draw(mostly) else draw(st.integers(4, 12)),
            may_delegate=draw(mostly),
            scope=draw(st.sampled_from(SCOPES)) if number > 1 else SCOPES[1],
        )
        chain = append(chain, signer, holder, terms, number)
        if not draw(mostly):
            chain = Chain((*chain.caps[:-1], msgspec.structs.replace(chain.caps[-1], signature=bytes(64))))
    return chain


@st.composite
def questions(draw: st.DrawFn, chain: Chain) -> Question:
    root = PEOPLE[0].public.principal
    subject = chain.caps[-1].subject if chain.caps else root
    serials = {cap.serial: draw(moments) for cap in chain.caps if not draw(mostly)}
    principals = {person.public.principal: draw(moments) for person in PEOPLE if not draw(mostly)}
    return Question(
        root=root if draw(mostly) else draw(people).public.principal,
        subject=subject if draw(mostly) else draw(people).public.principal,
        right=Rights(draw(st.integers(0, 3))),
        now=draw(st.sampled_from([5, 5, -1, 0, 2, 4, 9, 10, 11, 13])),
        path=draw(st.none() | st.sampled_from(PLACES).map(lambda names: BlockPath(root, (*names, "b")))),
        lineage=draw(st.sampled_from([None, SCOPES, SCOPES[::-1], SCOPES[1:], []])),
        revocations=Revocations(serials=serials, principals=principals),
    )


@settings(max_examples=600, deadline=None)
@given(data=st.data(), chain=chains())
def test_both_implementations_allow_the_same(data: st.DataObject, chain: Chain) -> None:
    question = data.draw(questions(chain))
    decision = verify_chain(chain, **{name: getattr(question, name) for name in Question.__annotations__})
    event(decision.stage.name)
    assert decision.allowed == slow_allowed(chain, question)


def slow_allowed(chain: Chain, question: Question) -> bool:
    """The rules of the specification, one after the other, in no hurry."""
    caps = chain.caps
    if not caps:
        return question.subject == question.root and (question.path is None or question.path.root == question.root)
    holders = [question.root, *(cap.subject for cap in caps)]
    links = list(pairwise(caps))
    return all(
        [
            all(cap.issuer.principal == holder for cap, holder in zip(caps, holders, strict=False)),
            all(cap.path.split("/")[1] == str(question.root) for cap in caps),
            all(slow_signed(caps, number) for number in range(len(caps))),
            all(earlier.may_delegate for earlier in caps[:-1]),
            all(below(later.path, earlier.path) for earlier, later in links),
            all(later.rights | earlier.rights == earlier.rights for earlier, later in links),
            all(earlier.not_before <= later.not_before for earlier, later in links),
            all(earlier.not_after >= later.not_after for earlier, later in links),
            not any(question.revocations.serials.get(cap.serial, question.now + 1) <= question.now for cap in caps),
            not any(revoked(cap.subject, question) for cap in caps),
            caps[-1].subject == question.subject,
            question.path is None or below(str(question.path), caps[-1].path),
            question.lineage is None or slow_nested([cap.scope for cap in caps], question.lineage),
            caps[-1].rights | question.right == caps[-1].rights,
            all(cap.not_before <= question.now <= cap.not_after for cap in caps),
        ]
    )


def slow_signed(caps: tuple[Writecap, ...], number: int) -> bool:
    before = Chain(caps[:number])
    try:
        caps[number].issuer.verify(Label.WRITECAP, before.id + caps[number].terms, caps[number].signature)
    except SignatureError:
        return False
    return True


def below(path: str, top: str) -> bool:
    return f"{path}/".startswith(f"{top}/")


def revoked(principal: Principal, question: Question) -> bool:
    since = question.revocations.principals.get(principal)
    return principal != question.root and since is not None and since <= question.now


def slow_nested(scopes: list[bytes], lineage: Sequence[bytes]) -> bool:
    if any(scope not in lineage for scope in scopes):
        return False
    depths = [list(lineage).index(scope) for scope in scopes]
    return depths == sorted(depths, reverse=True)
