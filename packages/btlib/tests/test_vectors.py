"""The vectors of the specifications: each does what it says, and is what the program makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from btlib import (
    BlockPath,
    BlocktreeError,
    Chain,
    KeyPair,
    Label,
    Principal,
    PublicKeys,
    Readcap,
    Revocations,
    Rights,
    Suite,
    open_readcap,
    verify_chain,
)
from btlib.credentials import Credentials, _format
from btlib.shares import Share, combine_shares
from btlib.words import seed_to_words, words_to_seed
from btserde import decode, encode

HERE = Path(__file__).resolve().parent
FILES = sorted(
    path for folder in ("principal", "capabilities", "recovery") for path in (HERE / "vectors" / folder).glob("*.json")
)

Vector = dict[str, Any]


def raw(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector[name])


def keys_of(vector: Vector) -> KeyPair:
    return KeyPair.from_seed(Suite.parse(vector["suite"]), raw(vector, "seed"))


def check_keys(vector: Vector) -> None:
    public = keys_of(vector).public
    assert (public.signing.hex(), public.sealing.hex()) == (vector["signing"], vector["sealing"])
    assert encode(public).hex() == vector["encoding"]
    assert PublicKeys.decode(raw(vector, "encoding")) == public
    assert public.principal.digest.hex() == vector["digest"]
    assert Principal.parse(vector["principal"]) == public.principal


def check_signature(vector: Vector) -> None:
    public = PublicKeys.decode(raw(vector, "public"))
    public.verify(Label(vector["label"].encode()), raw(vector, "message"), raw(vector, "signature"))


def check_seal(vector: Vector) -> None:
    plain = keys_of(vector).open(Label(vector["label"].encode()), raw(vector, "info"), raw(vector, "sealed"))
    assert plain.hex() == vector["plaintext"]


def check_key_set(vector: Vector) -> None:
    PublicKeys.decode(raw(vector, "encoding"))


def check_principal(vector: Vector) -> None:
    Principal.parse(vector["text"])


def check_path(vector: Vector) -> None:
    assert str(BlockPath.parse(vector["text"])) == vector["text"]


def check_credentials(vector: Vector) -> None:
    opened = _format.open_credentials(raw(vector, "file"), vector["passphrase"], "the file")
    assert opened == Credentials(suite=Suite.parse(vector["suite"]), seed=raw(vector, "seed"))


def check_words(vector: Vector) -> None:
    assert " ".join(seed_to_words(raw(vector, "seed"))) == vector["words"]
    assert words_to_seed(vector["words"]).hex() == vector["seed"]


def check_shares(vector: Vector) -> None:
    assert combine_shares([Share.parse(text) for text in vector["shares"]]).hex() == vector["seed"]


def check_chain(vector: Vector) -> None:
    chain = Chain.decode(raw(vector, "chain"))
    assert chain.id.hex() == vector["id"]
    revocations = vector["revocations"]
    decision = verify_chain(
        chain,
        root=Principal.parse(vector["root"]),
        subject=Principal.parse(vector["subject"]),
        right=Rights(vector["right"]),
        now=vector["now"],
        path=None if vector["path"] is None else BlockPath.parse(vector["path"]),
        lineage=None if vector["lineage"] is None else [bytes.fromhex(scope) for scope in vector["lineage"]],
        revocations=Revocations() if revocations is None else decode(bytes.fromhex(revocations), Revocations),
    )
    assert decision.stage.name == vector["expect"]["stage"]
    assert decision.allowed == (vector["expect"]["kind"] is None)
    assert decision.allowed or decision.kind.name == vector["expect"]["kind"]
    assert decision.allowed or vector["comment"] in decision.reason


def check_chain_encoding(vector: Vector) -> None:
    Chain.decode(raw(vector, "encoding"))


def check_readcap(vector: Vector) -> None:
    opened = open_readcap(keys_of(vector), Readcap.decode(raw(vector, "readcap")))
    assert opened.key.hex() == vector["key"]
    assert str(opened.path) == vector["path"]


CHECKS = {
    "keys": check_keys,
    "signature": check_signature,
    "seal": check_seal,
    "key set": check_key_set,
    "principal": check_principal,
    "path": check_path,
    "credentials": check_credentials,
    "words": check_words,
    "shares": check_shares,
    "chain": check_chain,
    "chain encoding": check_chain_encoding,
    "readcap": check_readcap,
}


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_the_vector_holds(file: Path) -> None:
    vector = json.loads(file.read_text(encoding="utf-8"))
    check = CHECKS[vector["kind"]]
    if vector["expect"] == "refuse":
        with pytest.raises(BlocktreeError):
            check(vector)
    else:
        check(vector)


def test_there_are_vectors_of_every_kind_to_accept_and_to_refuse() -> None:
    vectors = [json.loads(file.read_text(encoding="utf-8")) for file in FILES]
    assert {vector["kind"] for vector in vectors} == set(CHECKS)
    assert len([vector for vector in vectors if vector["expect"] == "accept"]) >= 12
    assert all(vector["comment"] for vector in vectors)


def test_the_vectors_are_what_the_program_makes() -> None:
    command = [sys.executable, str(HERE / "make_vectors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
