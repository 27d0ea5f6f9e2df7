"""The two files of an enrolment, and what is refused in them."""

from __future__ import annotations

import base64

import msgspec
import pytest
from blocktree.delegating import Enrolment
from blocktree.enrolment import (
    REQUEST_TITLE,
    Response,
    ResponseTerms,
    make_request,
    make_response,
    read_request,
    read_response,
)
from btlib.errors import BlocktreeError
from btlib.identity import Identity
from btlib.key_pairs import KeyPair
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.paths import BlockPath
from btlib.public_keys import Suite
from btlib.writecaps import SERVE, Chain, Rights, issue_writecap
from btserde import encode
from bttp import Peer
from bttp._auth import Auth

NOW = 1_800_000_000
DAY = 86_400


def keys(number: int) -> KeyPair:
    return KeyPair.from_seed(Suite.ED25519_X25519, bytes([number]) * 32)


ROOT, NEW, OTHER = keys(1), keys(2), keys(3)
HOSTS = BlockPath(ROOT.public.principal, ("hosts",))


def chain(*, subject: KeyPair = NEW, not_after: int = NOW + DAY) -> Chain:
    return issue_writecap(
        ROOT,
        Chain(),
        subject=subject.public.principal,
        path=HOSTS,
        scope=bytes(16),
        rights=Rights.EXECUTE,
        not_before=NOW,
        not_after=not_after,
        may_delegate=False,
        serial=bytes(16),
    )


def terms(*chains: Chain) -> ResponseTerms:
    return ResponseTerms(
        subject=NEW.public.principal,
        host="laptop",
        root=ROOT.public,
        chains=chains,
        server="nas:4433",
        server_path=f"{HOSTS}/nas/btfsd",
        issued=NOW,
    )


def test_a_request_says_who_asks_and_under_which_name() -> None:
    request = read_request(make_request(NEW, "laptop", NOW))
    assert (request.principal, request.terms.host, request.terms.created) == (NEW.public.principal, "laptop", NOW)


def test_a_response_comes_back_as_it_was_given() -> None:
    response = read_response(make_response(ROOT, terms(chain())), NOW)
    assert response.terms == terms(chain())
    assert response.root == ROOT.public.principal


def test_line_ends_and_blank_lines_of_mail_do_no_harm() -> None:
    text = make_request(NEW, "laptop", NOW).replace("\n", "\r\n") + "\r\n\r\n"
    assert read_request(text).terms.host == "laptop"


def test_every_truncation_of_a_request_is_refused() -> None:
    text = make_request(NEW, "laptop", NOW).rstrip("\n")
    for length in range(len(text)):
        with pytest.raises(BlocktreeError):
            read_request(text[:length])


def test_every_flipped_byte_of_a_request_and_a_response_is_refused() -> None:
    request, response = make_request(NEW, "laptop", NOW), make_response(ROOT, terms(chain()))
    for text, read in ((request, read_request), (response, lambda text: read_response(text, NOW))):
        title, _, body = text.partition("\n")
        data = base64.b64decode(body)
        for place in range(len(data)):
            flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            with pytest.raises(BlocktreeError):
                read(f"{title}\n{base64.b64encode(flipped).decode()}\n")


def test_a_file_of_another_kind_is_named() -> None:
    with pytest.raises(BlocktreeError, match="no 'blocktree enroll request 1' file"):
        read_request(make_response(ROOT, terms(chain())))
    with pytest.raises(BlocktreeError, match="is damaged"):
        read_request(f"{REQUEST_TITLE}\n%%%\n")


def test_a_response_signed_by_somebody_else_is_refused() -> None:
    with pytest.raises(BlocktreeError, match="signature"):
        read_response(make_response(OTHER, terms(chain())), NOW)


def test_a_changed_server_is_noticed() -> None:
    good = terms(chain())
    signature = ROOT.sign(Label.ENROLL_RESPONSE, encode(good))
    evil = Response(terms=msgspec.structs.replace(good, server="evil:4433"), signature=signature)
    text = "blocktree enroll response 1\n" + base64.b64encode(encode(evil)).decode()
    with pytest.raises(BlocktreeError, match="signature"):
        read_response(text, NOW)


def test_an_expired_chain_is_refused_as_expired() -> None:
    with pytest.raises(BlocktreeError, match="expired") as caught:
        read_response(make_response(ROOT, terms(chain())), NOW + 2 * DAY)
    assert caught.value.kind is Kind.EXPIRED


def test_a_chain_for_somebody_else_is_refused() -> None:
    with pytest.raises(BlocktreeError, match="not for"):
        read_response(make_response(ROOT, terms(chain(subject=OTHER))), NOW)


def test_a_response_without_chains_is_refused() -> None:
    with pytest.raises(BlocktreeError, match="holds no chain"):
        read_response(make_response(ROOT, terms()), NOW)


def test_a_server_under_another_root_is_refused() -> None:
    foreign = f"/{OTHER.public.principal}/hosts/nas/btfsd"
    with pytest.raises(BlocktreeError, match="another root"):
        read_response(make_response(ROOT, msgspec.structs.replace(terms(chain()), server_path=foreign)), NOW)


@pytest.mark.parametrize("host", ["a/b", "..", "", "x" * 256])
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(BlocktreeError):
        make_request(NEW, host, NOW)


def test_the_files_hold_no_secret_seed() -> None:
    text = make_request(NEW, "laptop", NOW)
    assert bytes([2]) * 32 not in base64.b64decode(text.partition("\n")[2])


def test_no_machine_passes_for_another_with_what_its_enrolment_gives() -> None:
    enrolment = Enrolment(
        issuer=Identity(signer=ROOT, opener=ROOT),
        root=ROOT.public.principal,
        subject=NEW.public.principal,
        host="laptop",
        now=NOW,
        until=NOW + DAY,
        random=bytes,
    )
    peer = Peer((Auth(public=NEW.public, chains=enrolment.chains(), signature=b""),))
    assert peer.decide(Rights.EXECUTE, HOSTS.child("nas"), NOW).allowed
    assert not peer.decide(SERVE, HOSTS.child("nas"), NOW).allowed
    assert peer.decide(SERVE, HOSTS.child("laptop").child("btfsd"), NOW).allowed
