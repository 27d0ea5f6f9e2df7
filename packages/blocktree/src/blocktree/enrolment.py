"""The two files of an enrolment: what a new machine asks for, and what an enrolled one answers.

    file     = first line ‖ base64 lines               the first line says what it is: `blocktree enroll request 1`
    request  = public keys, host, created              signed by those keys: who asks holds them
    response = subject, host, root keys, chains,       signed by the issuer of the chains' last caps, so that nobody
               server, server path, issued             between the two machines can change where the new one connects

Neither holds a secret, so they may travel by any way. What matters is that people compare fingerprints: the signer that
of the new machine, the new machine that of the root. An answer gives no access to files; `bt grant` does. Pure: time
and keys are arguments.
"""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.paths import BlockPath, check_name
from btlib.principals import Principal
from btlib.public_keys import PublicKeys
from btlib.signing import Signer
from btlib.verification import verify_chain
from btlib.writecaps import Chain, Rights
from btserde import I64, DecodeError, Limits, decode, encode

from .errors import CommandError

FILE_LIMIT = 256 * 1024  #: bytes of an enrolment file; two full chains of eight post-quantum caps have 110 KiB
REQUEST_TITLE = "blocktree enroll request 1"
RESPONSE_TITLE = "blocktree enroll response 1"
LINE = 76  #: characters of a base64 line, as mail likes it

_LIMITS = Limits(max_size=FILE_LIMIT)
Message = TypeVar("Message", bound=msgspec.Struct)


class RequestTerms(msgspec.Struct, frozen=True, kw_only=True):
    public: PublicKeys
    host: str  #: the name wished for; the signer may give another
    created: I64


class ResponseTerms(msgspec.Struct, frozen=True, kw_only=True):
    subject: Principal
    host: str
    root: PublicKeys
    chains: tuple[Chain, ...]
    server: str | None
    server_path: str
    issued: I64


class Request(msgspec.Struct, frozen=True, kw_only=True):
    terms: RequestTerms
    signature: bytes

    @property
    def principal(self) -> Principal:
        return self.terms.public.principal


class Response(msgspec.Struct, frozen=True, kw_only=True):
    terms: ResponseTerms
    signature: bytes

    @property
    def root(self) -> Principal:
        return self.terms.root.principal


def make_request(signer: Signer, host: str, now: int) -> str:
    """The text of a request file."""
    terms = RequestTerms(public=signer.public, host=check_name(host), created=now)
    signature = signer.sign(Label.ENROLL_REQUEST, encode(terms))
    return armour(REQUEST_TITLE, Request(terms=terms, signature=signature))


def read_request(text: str) -> Request:
    """A request whose sender holds the keys it names. Raises CommandError, PathError or SignatureError."""
    request = unarmour(text, REQUEST_TITLE, Request)
    check_name(request.terms.host)
    request.terms.public.verify(Label.ENROLL_REQUEST, encode(request.terms), request.signature)
    return request


def make_response(signer: Signer, terms: ResponseTerms) -> str:
    """The text of a response file."""
    signature = signer.sign(Label.ENROLL_RESPONSE, encode(terms))
    return armour(RESPONSE_TITLE, Response(terms=terms, signature=signature))


def read_response(text: str, now: int) -> Response:
    """A response whose chains hold now, for its subject, under its root. Raises BlocktreeError.

    Whether that root is the one the user means is for the user to say.
    """
    response = unarmour(text, RESPONSE_TITLE, Response)
    terms = response.terms
    check_name(terms.host)
    path = BlockPath.parse(terms.server_path)
    if path.root != response.root:
        raise CommandError(
            "this response is damaged: its server lies under another root", hint="ask for a new one: bt enroll sign"
        )
    if not terms.chains:
        raise CommandError("this response holds no chain", hint="ask for a new one: bt enroll sign")
    for chain in terms.chains:
        decision = verify_chain(chain, root=response.root, subject=terms.subject, right=Rights(0), now=now)
        if not decision.allowed:
            raise CommandError(
                f"this response does not enrol {terms.subject}: {decision.reason}",
                kind=decision.kind,
                hint="ask for a new one: bt enroll sign",
            )
        _issuer(chain, terms.root).verify(Label.ENROLL_RESPONSE, encode(terms), response.signature)
    return response


def _issuer(chain: Chain, root: PublicKeys) -> PublicKeys:
    return chain.caps[-1].issuer if chain.caps else root


def armour(title: str, message: msgspec.Struct) -> str:
    """A message as a file of text, which mail and clipboards leave alone."""
    body = base64.b64encode(encode(message)).decode()
    lines = [body[start : start + LINE] for start in range(0, len(body), LINE)]
    return "\n".join([title, *lines]) + "\n"


def unarmour(text: str, title: str, message: type[Message]) -> Message:
    """The message of such a file. Raises CommandError."""
    first, _, body = text.partition("\n")
    if first.strip() != title:
        raise CommandError(
            f"this is no {title!r} file: it begins with {first[:40]!a}",
            hint="look whether it is the file that was meant",
        )
    try:
        return decode(base64.b64decode("".join(body.split()), validate=True), message, _LIMITS)
    except (binascii.Error, ValueError, DecodeError) as error:
        raise CommandError(
            f"this {title!r} file is damaged: {error}", kind=Kind.INTEGRITY, hint="have it sent again"
        ) from error
