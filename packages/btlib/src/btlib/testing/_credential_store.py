"""What every credential store must do, whatever it keeps keys in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ..credentials import Credentials, CredentialStore, PassphraseCost
from ..errors import CredentialError
from ..kinds import Kind
from ..public_keys import PublicKeys, Suite
from ..writecaps import Chain
from ._identities import make_domain_identities
from ._keys import check_opener, check_signer

QUICK_COST = PassphraseCost(memory_kib=8, iterations=1, lanes=1)  #: protects nothing; for tests only

_PASSPHRASE = "correct horse"


def check_credential_store(make: Callable[[], CredentialStore], suites: Sequence[Suite] = tuple(Suite)) -> None:
    """Raise AssertionError unless the stores that `make` gives, each new and empty, keep the interface's promises.

    `suites` are those that the stores can keep; every other one they must refuse.
    """
    _check_other_suites(make(), [suite for suite in Suite if suite not in suites])
    for suite in suites:
        _check_empty(make(), suite)
        _check_round_trip(make(), suite)
        _check_generated(make(), suite)
        _check_nothing_is_overwritten(make(), suite)
        _check_passphrase_change(make(), suite)
        _check_chains(make(), suite)


def _check_other_suites(store: CredentialStore, suites: Sequence[Suite]) -> None:
    for suite in suites:
        _expect(Kind.NOT_SUPPORTED, partial(store.generate, suite, _PASSPHRASE))
        _expect(Kind.NOT_SUPPORTED, partial(store.save, Credentials.generate(suite), _PASSPHRASE))
    assert not store.exists()


def _check_empty(store: CredentialStore, suite: Suite) -> None:
    assert not store.exists()
    for use in (
        store.public,
        lambda: store.unlock(_PASSPHRASE),
        lambda: store.reveal(_PASSPHRASE),
        lambda: store.change_passphrase(_PASSPHRASE, "another"),
        lambda: store.add_chains(_PASSPHRASE, Chain()),
    ):
        _expect(Kind.NOT_FOUND, use)
    _expect(Kind.INVALID, lambda: store.save(Credentials.generate(suite), ""))
    _expect(Kind.INVALID, lambda: store.generate(suite, ""))
    assert not store.exists()


def _check_round_trip(store: CredentialStore, suite: Suite) -> None:
    credentials = Credentials.generate(suite)
    store.save(credentials, _PASSPHRASE)
    assert store.exists()
    assert store.public() == credentials.public
    identity = store.unlock(_PASSPHRASE)
    assert identity.public == credentials.public
    check_signer(identity.signer)
    check_opener(identity.opener)
    _expect(Kind.UNAUTHENTICATED, lambda: store.unlock(_PASSPHRASE.upper()))
    _expect(Kind.INVALID, lambda: store.unlock(""))


def _check_generated(store: CredentialStore, suite: Suite) -> None:
    public = store.generate(suite, _PASSPHRASE)
    assert store.public() == public
    assert public.suite is suite
    _expect(Kind.EXISTS, lambda: store.generate(suite, _PASSPHRASE))
    identity = store.unlock(_PASSPHRASE)
    assert identity.public == public
    check_signer(identity.signer)
    check_opener(identity.opener)
    _check_revealed(store, public)


def _check_revealed(store: CredentialStore, public: PublicKeys) -> None:
    """A store gives the secret out or says that it cannot; it gives nothing else."""
    refusal = _failure(lambda: store.reveal(_PASSPHRASE))
    if refusal is None:
        assert store.reveal(_PASSPHRASE).public == public
        _expect(Kind.UNAUTHENTICATED, lambda: store.reveal("wrong"))
    else:
        assert refusal is Kind.NOT_SUPPORTED, refusal


def _check_nothing_is_overwritten(store: CredentialStore, suite: Suite) -> None:
    first, second = Credentials.generate(suite), Credentials.generate(suite)
    store.save(first, _PASSPHRASE)
    _expect(Kind.EXISTS, lambda: store.save(second, _PASSPHRASE))
    assert store.unlock(_PASSPHRASE).public == first.public
    store.save(second, "another", replace=True)
    assert store.unlock("another").public == second.public
    _expect(Kind.UNAUTHENTICATED, lambda: store.unlock(_PASSPHRASE))


def _check_passphrase_change(store: CredentialStore, suite: Suite) -> None:
    credentials = Credentials.generate(suite)
    store.save(credentials, _PASSPHRASE)
    _expect(Kind.UNAUTHENTICATED, lambda: store.change_passphrase("wrong", "another"))
    _expect(Kind.INVALID, lambda: store.change_passphrase(_PASSPHRASE, ""))
    assert store.unlock(_PASSPHRASE).public == credentials.public
    store.change_passphrase(_PASSPHRASE, "another")
    assert store.unlock("another").public == credentials.public
    _expect(Kind.UNAUTHENTICATED, lambda: store.unlock(_PASSPHRASE))


def _check_chains(store: CredentialStore, suite: Suite) -> None:
    (chain,) = make_domain_identities("alice")["alice"].chains
    store.save(Credentials.generate(suite), _PASSPHRASE)
    _expect(Kind.UNAUTHENTICATED, lambda: store.add_chains("wrong", chain))
    assert store.unlock(_PASSPHRASE).chains == ()
    assert store.add_chains(_PASSPHRASE, chain).chains == (chain,)
    assert store.add_chains(_PASSPHRASE, chain).chains == (chain,)
    assert store.unlock(_PASSPHRASE).chains == (chain,)


def _expect(kind: Kind, use: Callable[[], object]) -> None:
    found = _failure(use)
    assert found is kind, f"{found!r} instead of a CredentialError of kind {kind!r}"


def _failure(use: Callable[[], object]) -> Kind | None:
    try:
        use()
    except CredentialError as error:
        return error.kind
    return None
