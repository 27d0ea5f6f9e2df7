"""Keys in memory keep the promises of signers and openers, and the suite finds those who do not."""

from __future__ import annotations

import pytest
from btlib import KeyPair, Label, PublicKeys, Suite
from btlib.errors import SignatureError
from btlib.testing import check_opener, check_signer, make_keys

ALICE, BOB = make_keys("alice"), make_keys("bob")


@pytest.mark.parametrize("suite", Suite)
def test_key_pairs_keep_the_promises_of_signers_and_openers(suite: Suite) -> None:
    check_signer(KeyPair.generate(suite))
    check_opener(KeyPair.generate(suite))


class Careless:
    """Opens whatever it can."""

    public: PublicKeys = ALICE.public

    def open(self, label: Label, info: bytes, sealed: bytes) -> bytes:
        return ALICE.open(Label.READCAP, b"info", sealed)


class Growing:
    """Signs in sizes that differ."""

    public: PublicKeys = ALICE.public

    def sign(self, label: Label, message: bytes) -> bytes:
        return ALICE.sign(label, message) + (b"\0" if message == b"\0\5" else b"")


class Wrong:
    """Signs with keys that are not those it names."""

    public: PublicKeys = BOB.public

    def sign(self, label: Label, message: bytes) -> bytes:
        return ALICE.sign(label, message)


def test_the_suites_find_whoever_breaks_a_promise() -> None:
    with pytest.raises(AssertionError, match="sizes"):
        check_signer(Growing())
    with pytest.raises(SignatureError):
        check_signer(Wrong())
    with pytest.raises(AssertionError, match="succeeded instead of raising SealError"):
        check_opener(Careless())
