"""Targets of btlib's principals, capabilities, credentials and what is written on paper."""

from __future__ import annotations

from btfproto.domain import LIST_LIMITS
from btlib import (
    BlockPath,
    Chain,
    KeyPair,
    Principal,
    PublicKeys,
    Readcap,
    Rights,
    Suite,
    open_readcap,
    verify_chain,
)
from btlib.agent import _messages as agent
from btlib.credentials import Credentials
from btlib.credentials import _format as credential_file
from btlib.errors import BlocktreeError, CapabilityError, CredentialError, PathError, PrincipalError, SignatureError
from btlib.groups import GROUP_LIMITS, Membership
from btlib.labels import Label, tagged_hash
from btlib.revocations import RevocationList, growth_fault
from btlib.shares import Share
from btlib.testing import make_keys
from btlib.words import seed_to_words, words_to_seed
from btserde import DecodeError, decode, encode

from .target import target

ROOT = make_keys("root")
SUBJECT = KeyPair.from_seed(Suite.ED25519_X25519, bytes(range(32)))  #: whose signatures and seals the vectors have
CHECK_SIZE = 32


@target("public-keys", "public key sets", refuses=PrincipalError)
def public_keys(data: bytes) -> None:
    keys = PublicKeys.decode(data)
    assert encode(keys) == data
    assert Principal.parse(str(keys.principal)) == keys.principal


@target("principal", "texts of principals", refuses=PrincipalError)
def principal(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    assert str(Principal.parse(text)) == text


@target("block-path", "texts of paths", refuses=PathError)
def block_path(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    path = BlockPath.parse(text)
    assert str(path) == text
    assert path.parent is None or path.parent.is_prefix_of(path)


@target("chain", "chains of writecaps, and what they allow", refuses=CapabilityError)
def chain(data: bytes) -> None:
    found = Chain.decode(data)
    assert encode(found) == data
    holder = found.last.subject if found.last else ROOT.public.principal
    root = ROOT.public.principal
    decision = verify_chain(found, root=root, subject=holder, right=Rights.WRITE, now=1000)
    assert decision.allowed or decision.reason


@target("readcap", "readcaps, and what they hold", refuses=BlocktreeError)
def readcap(data: bytes) -> None:
    found = Readcap.decode(data)
    assert encode(found) == data
    assert len(open_readcap(SUBJECT, found).key) == 32


@target("signature", "signatures", refuses=BlocktreeError)
def signature(data: bytes) -> None:
    SUBJECT.public.verify(Label.COMMIT, b"message", data)
    assert data == SUBJECT.sign(Label.COMMIT, b"message"), "a second signature of one message was taken"


@target("sealed", "sealed texts", refuses=BlocktreeError)
def sealed(data: bytes) -> None:
    SUBJECT.open(Label.READCAP, b"info", data)


@target("credential-file", "credential files (the checksum is put right)", refuses=CredentialError)
def credentials(data: bytes) -> None:
    content = with_check(data)
    assert encode(credential_file.read_public(content, "a file"))


@target("credentials", "what a credential file holds", refuses=DecodeError)
def opened_credentials(data: bytes) -> None:
    assert encode(decode(data, Credentials)) == data


@target("revocation-list", "lists of revocations", refuses=(DecodeError, CapabilityError))
def revocations(data: bytes) -> None:
    found = decode(data, RevocationList, LIST_LIMITS)
    assert encode(found) == data
    assert growth_fault(found, found) is None
    assert found.effective.version == found.version


@target("membership", "memberships of groups", refuses=(DecodeError, CapabilityError, SignatureError))
def memberships(data: bytes) -> None:
    found = decode(data, Membership, GROUP_LIMITS)
    assert encode(found) == data
    found.check()


@target("words", "recovery words", refuses=CredentialError)
def words(data: bytes) -> None:
    seed = words_to_seed(data.decode(errors="surrogateescape"))
    assert words_to_seed(" ".join(seed_to_words(seed))) == seed


@target("share", "shares of recovery words", refuses=CredentialError)
def share(data: bytes) -> None:
    found = Share.parse(data.decode(errors="surrogateescape"))
    assert Share.parse(" ".join(found.words)).words == found.words


@target("agent-request", "requests to the agent", refuses=CredentialError)
def agent_request(data: bytes) -> None:
    size = agent.body_size(data[: agent.LENGTH_SIZE])
    body = data[agent.LENGTH_SIZE :][:size]
    assert agent.encode_request(agent.decode_request(body))[agent.LENGTH_SIZE :] == body


@target("agent-reply", "replies of the agent", refuses=CredentialError)
def agent_reply(data: bytes) -> None:
    size = agent.body_size(data[: agent.LENGTH_SIZE])
    body = data[agent.LENGTH_SIZE :][:size]
    assert agent.encode_reply(agent.decode_reply(body))[agent.LENGTH_SIZE :] == body


def with_check(data: bytes) -> bytes:
    """A file whose checksum is right: no fuzzer would find one."""
    body = data[:-CHECK_SIZE]
    return body + tagged_hash(Label.CREDENTIALS_CHECK, body)
