"""No secret shows: not in a representation, an error, a traceback or a log. Canaries are planted, and looked for."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from btlib import (
    BlockPath,
    BlocktreeError,
    Chain,
    Credentials,
    FileCredentialStore,
    Identity,
    KeyPair,
    Label,
    ReadKey,
    Suite,
    open_readcap,
    seal_readcap,
)
from btlib._hybrid import _expand
from btlib.credentials import MemoryCredentialStore
from btlib.key_pairs import _material
from btlib.testing import QUICK_COST, make_keys
from btlib.words import seed_to_words, words_to_seed
from rich.pretty import pretty_repr

SEED = b"canary seed, of thirty-two bytes"
BLOCK_KEY = b"canary block key of thirty-two b"
PASSPHRASE = "canary passphrase"
WRONG = "canary wrong passphrase"
WORDS = seed_to_words(SEED)
SECRET_PATH = BlockPath(make_keys("root").public.principal, ("canary name",))


def private_parts(suite: Suite) -> list[bytes]:
    """The raw private keys of SEED, as far as they can be had."""
    pair = KeyPair.from_seed(suite, SEED)._private
    names = ("_lattice", "_classic") if suite is Suite.HYBRID_PQ else ("_signing", "_sealing")
    keys = [getattr(pair, name) for name in names]
    if suite is Suite.HYBRID_PQ:
        keys += _expand(_material(SEED, Label.SEED_SEAL, suite)[:32])
    if suite is Suite.P256:
        return [key.private_numbers().private_value.to_bytes(32) for key in keys]
    return [key.private_bytes_raw() for key in keys]


SECRETS = [SEED, BLOCK_KEY, *(part for suite in Suite for part in private_parts(suite))]


def leaks(text: str) -> list[str]:
    """The secrets in a text, in any of the forms in which Python would print bytes."""
    found = [word for word in ("canary",) if word in text.lower()]
    found += [" ".join(pair) for pair in pairwise(WORDS) if " ".join(pair) in text]
    for secret in SECRETS:
        forms = (secret.hex(), repr(secret)[2:-1], str(list(secret))[1:-1], str(int.from_bytes(secret)))
        found += [form for form in forms if form in text]
    return found


def holders() -> Iterator[object]:
    """Everything that holds a secret."""
    for suite in Suite:
        pair = KeyPair.from_seed(suite, SEED)
        credentials = Credentials(suite=suite, seed=SEED)
        memory = MemoryCredentialStore()
        memory.save(credentials, PASSPHRASE)
        readcap = seal_readcap(pair.public, block=bytes(16), key_epoch=1, key=BLOCK_KEY, path=SECRET_PATH)
        yield from (pair, credentials, credentials.identity(), memory, readcap)
        yield Identity(signer=pair, opener=pair)
        yield ReadKey(block=bytes(16), key_epoch=1, key=BLOCK_KEY, path=BlockPath(SECRET_PATH.root))


HOLDERS = list(holders())


@pytest.mark.parametrize("holder", HOLDERS, ids=[type(holder).__name__ for holder in HOLDERS])
def test_no_representation_shows_a_secret(holder: object) -> None:
    for text in (repr(holder), str(holder), f"{holder}", f"{[holder]}", f"{(holder,)!r}", pretty_repr(holder)):
        assert leaks(text) == []


@pytest.mark.parametrize("suite", Suite)
def test_keys_are_not_pickled_or_copied(suite: Suite) -> None:
    pair = KeyPair.from_seed(suite, SEED)
    for spread in (pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode):
        with pytest.raises(TypeError):
            spread(pair)
    assert not hasattr(pair, "seed")


def failures(directory: Path) -> Iterator[Callable[[], object]]:
    """Everything that fails with a secret at hand."""
    pair, other = KeyPair.from_seed(Suite.P256, SEED), make_keys("other", Suite.P256)
    store = FileCredentialStore(directory / "credentials", QUICK_COST)
    credentials = Credentials(suite=Suite.P256, seed=SEED)
    yield lambda: store.unlock(WRONG)
    store.save(credentials, PASSPHRASE)
    yield lambda: store.unlock(WRONG)
    yield lambda: store.save(credentials, PASSPHRASE)
    yield lambda: store.change_passphrase(WRONG, PASSPHRASE)
    yield lambda: store.change_passphrase(PASSPHRASE, WRONG * 1000)
    yield lambda: store.add_chains(WRONG, Chain())
    yield lambda: store.save(credentials, "canary \udc80", replace=True)
    damaged = FileCredentialStore(directory / "damaged", QUICK_COST)
    damaged.save(credentials, PASSPHRASE)
    damaged.path.write_bytes(damaged.path.read_bytes()[:-1])
    yield lambda: damaged.unlock(PASSPHRASE)
    yield lambda: FileCredentialStore(directory).save(credentials, PASSPHRASE, replace=True)
    yield lambda: KeyPair.from_seed(Suite.P256, SEED + b"x")
    yield lambda: Credentials(suite=Suite.P256, seed=SEED[:-1])
    yield lambda: words_to_seed(" ".join([*WORDS[:-1], "canary"]))
    yield lambda: words_to_seed(" ".join([*WORDS[1:], WORDS[0]]))
    yield lambda: words_to_seed(" ".join(WORDS[1:]))
    yield lambda: seed_to_words(SEED + b"x")
    readcap = seal_readcap(pair.public, block=bytes(16), key_epoch=1, key=BLOCK_KEY, path=SECRET_PATH)
    yield lambda: open_readcap(other, readcap)
    yield lambda: open_readcap(pair, msgspec.structs.replace(readcap, key_epoch=2))
    yield lambda: seal_readcap(pair.public, block=b"", key_epoch=1, key=BLOCK_KEY, path=SECRET_PATH)
    info = pair.public.principal.digest + bytes(16) + (1).to_bytes(4, "little")
    inner = pair.public.seal(Label.READCAP, info, BLOCK_KEY + b"\x06canary" + bytes(217))
    yield lambda: open_readcap(pair, msgspec.structs.replace(readcap, sealed=inner))
    yield lambda: pickle.dumps(pair)


def test_no_error_traceback_or_log_line_shows_a_secret(tmp_path: Path) -> None:
    stream = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    count = 0
    for fail in failures(tmp_path):
        with pytest.raises((BlocktreeError, TypeError)) as caught:
            fail()
        count += 1
        error = caught.value
        logger.error("failed: %s %r", error, error.args, exc_info=error)
        stream.write("".join(line for line in traceback.format_exception(error) if not _is_source_of_tests(line)))
    lines = [line for line in stream.getvalue().splitlines() if not _is_code(line)]
    assert count == 20
    assert leaks("\n".join(lines)) == []


def _is_source_of_tests(entry: str) -> bool:
    return entry.lstrip().startswith('File "') and Path(__file__).name in entry


def _is_code(line: str) -> bool:
    """Tracebacks quote lines of this file, where the canaries' names stand; they are no values."""
    return line.startswith("    ")


def test_the_search_finds_what_it_looks_for() -> None:
    for text in (SEED.hex(), repr(SEED), f"{list(BLOCK_KEY)}", PASSPHRASE, " ".join(WORDS), repr(SECRETS[-1])):
        assert leaks(f"x {text} y") != []


def test_a_credential_file_holds_no_secret_in_the_clear(tmp_path: Path) -> None:
    store = FileCredentialStore(tmp_path / "credentials", QUICK_COST)
    for suite in Suite:
        store.save(Credentials(suite=suite, seed=SEED), PASSPHRASE, replace=True)
        content = store.path.read_bytes()
        assert [secret for secret in (*SECRETS, b"canary", PASSPHRASE.encode()) if secret in content] == []
