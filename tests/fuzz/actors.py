"""Targets of btrun: requests to actors, packets of protocols, versions of declarations, inspection."""

from __future__ import annotations

import msgspec
from btrun import _inspection_wire as inspection_wire
from btrun import _wire as wire
from btrun.inspection import decode_inspection
from btrun.protocol._channel import UnexpectedMessageError
from btrun.protocol._versions import MAX_VERSIONS, Versions, choose
from btrun.protocol._wire import last_word, pack, unpack
from btrun.protocol.errors import SessionEndedError
from btserde import SerdeError, encode
from msgspec import Struct

from .target import target

_ACCEPTS: dict[str, type[Struct]] = {"Versions": Versions}


@target("actor-request", "requests to actors", refuses=SerdeError)
def actor_request(data: bytes) -> None:
    request = wire.decode_request(data)
    assert wire.encode_request(request) == data
    heads = wire.Heads()
    for _ in range(2):  # the second time its beginning is known
        head, body = heads.decode(data)
        assert bytes(body) == bytes(request.body)
        assert msgspec.structs.replace(head.request, body=request.body) == request


@target("actor-reply", "replies of actors", refuses=SerdeError)
def actor_reply(data: bytes) -> None:
    assert wire.encode_reply(wire.decode_reply(data)) == data


@target("actor-published", "messages to topics of actors", refuses=SerdeError)
def actor_published(data: bytes) -> None:
    assert encode(wire.decode_published(data)) == data


@target("actor-ended", "news of actors that ended", refuses=SerdeError)
def actor_ended(data: bytes) -> None:
    assert wire.encode_ended(wire.decode_ended(data)) == data


@target("inspection", "requests and answers of the inspection of runtimes", refuses=SerdeError)
def inspection(data: bytes) -> None:
    decoders = (
        inspection_wire.decode_request,
        inspection_wire.decode_halted,
        inspection_wire.decode_follow,
        inspection_wire.decode_handled,
        decode_inspection,
    )
    decoders[(data[0] if data else 0) % len(decoders)](data[1:])


@target("protocol-packet", "packets of protocols, and the versions of declarations", refuses=UnexpectedMessageError)
def protocol_packet(data: bytes) -> None:
    word = last_word(data)
    try:
        message = unpack(data, _ACCEPTS)
    except SessionEndedError as error:
        ended = str(error)
    else:
        ended = ""
        assert isinstance(message, Versions)
        assert pack(message) == data
        chosen = choose((1, 2, 3), message.fingerprints[:MAX_VERSIONS])
        assert chosen is None or chosen in message.fingerprints
    assert ended == ("" if word is None else str(word))
