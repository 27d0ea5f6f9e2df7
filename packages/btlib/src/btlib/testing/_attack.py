"""What an attack is, and what is attacked: `Judge`, an implementation of capabilities, seals and trees over bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..block import SectorCipher, SectorTree
from ..key_pairs import KeyPair
from ..labels import Label
from ..paths import BlockPath
from ..principals import Principal
from ..public_keys import PublicKeys
from ..readcaps import Readcap, open_readcap
from ..revocations import NO_REVOCATIONS, Revocations
from ..verification import verify_chain
from ..writecaps import Chain, Rights

Under = TypeVar("Under", contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Attack(Generic[Under]):
    """One attack: a name that documents use, what it tries, and the try. `run` raises AssertionError if it succeeds."""

    name: str
    tries: str
    run: Callable[[Under], None]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whether `subject` holds `right` at a place now, by the chain that it shows."""

    root: Principal
    subject: Principal
    right: Rights = Rights.WRITE
    now: int
    path: BlockPath | None = None
    lineage: Sequence[bytes] | None = None  #: write scopes, from the block's own up to the root's
    revocations: Revocations = NO_REVOCATIONS


class Judge(Protocol):
    """An implementation under attack. Each method returns what is honest, and raises any Exception for the rest."""

    def allows(self, chain: bytes, question: Question) -> bool:
        """Whether an encoded chain gives the right; False and an exception are both refusals."""
        ...

    def verify(self, public: bytes, label: Label, message: bytes, signature: bytes) -> None:
        """Return if the signature is by these encoded keys, for this purpose."""
        ...

    def open_readcap(self, keys: KeyPair, readcap: bytes) -> bytes:
        """The key in an encoded readcap."""
        ...

    def path(self, text: str) -> str:
        """The text of a path that is one."""
        ...

    def open_sector(self, key: bytes, block: bytes, key_epoch: int, index: int, stored: bytes) -> bytes:
        """The content of a stored sector."""
        ...

    def leaf(self, root: bytes, sector_count: int, index: int, fetch: Callable[[int, int], bytes | None]) -> bytes:
        """The hash of a sector, after every node from the root down was compared with what stands above it."""
        ...


class Btlib:
    """This package as a judge."""

    def allows(self, chain: bytes, question: Question) -> bool:
        return verify_chain(
            Chain.decode(chain),
            root=question.root,
            subject=question.subject,
            right=question.right,
            now=question.now,
            path=question.path,
            lineage=question.lineage,
            revocations=question.revocations,
        ).allowed

    def verify(self, public: bytes, label: Label, message: bytes, signature: bytes) -> None:
        PublicKeys.decode(public).verify(label, message, signature)

    def open_readcap(self, keys: KeyPair, readcap: bytes) -> bytes:
        return open_readcap(keys, Readcap.decode(readcap)).key

    def path(self, text: str) -> str:
        return str(BlockPath.parse(text))

    def open_sector(self, key: bytes, block: bytes, key_epoch: int, index: int, stored: bytes) -> bytes:
        return SectorCipher(key, block, key_epoch).open(index, stored)

    def leaf(self, root: bytes, sector_count: int, index: int, fetch: Callable[[int, int], bytes | None]) -> bytes:
        return SectorTree(root, sector_count, fetch).leaf(index)


BTLIB = Btlib()

ATTACKS: dict[str, Attack[Judge]] = {}  #: filled by `attack`, in order of definition


def attack(name: str, tries: str) -> Callable[[Callable[[Judge], None]], Callable[[Judge], None]]:
    """Enter a function into ATTACKS."""

    def enter(run: Callable[[Judge], None]) -> Callable[[Judge], None]:
        assert name not in ATTACKS, name
        ATTACKS[name] = Attack(name=name, tries=tries, run=run)
        return run

    return enter


def refuse(use: Callable[[], object], what: str) -> None:
    """Raise AssertionError unless `use` does. A judgement that is False is a refusal too."""
    try:
        given = use()
    except Exception:
        return
    assert given is False, f"{what} was taken"
