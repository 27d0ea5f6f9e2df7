"""Both ends of an enrolment by a code: that it works, and what `btlib.testing.pairing` does not try."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from btlib.errors import PairingError
from btlib.kinds import Kind
from btlib.pairing import (
    Answered,
    Asked,
    Ended,
    FrameKind,
    FrameReader,
    InvitationCode,
    InvitationState,
    InviterTalk,
    Joined,
    Joiner,
    Refusal,
    Reported,
    frame,
)
from btlib.pairing._frames import SIZES
from btlib.pairing._keys import JOINER_SIDE, Sealing, agree, inviter_exchange
from hypothesis import given, settings
from hypothesis import strategies as st

from .ends import CODE, EXPIRES, NOW, REPORT, REQUEST, RESPONSE, Meeting, Relay, invite, join, known, meet

WRONG = InvitationCode.parse("lemon-rocket-absorb-zebra")
ELSEWHERE = InvitationCode.parse("zebra-rocket-absorb-winter")


def kinds(meeting: Meeting) -> list[Kind | None]:
    """Why the two ends ended, the inviter first where both did."""
    return [None if event.reason is None else event.reason.kind for event in meeting.ends]


def refusals(data: bytes) -> list[int]:
    reader = FrameReader()
    reader.feed(data)
    found = []
    while (one := reader.next_frame()) is not None:
        if one.kind is FrameKind.REFUSAL:
            found.append(one.body[0])
    return found


def test_who_knows_the_code_is_let_in() -> None:
    invitation = invite()
    meeting = meet(invitation).run()
    assert meeting.events == [
        Asked(request=REQUEST),
        Answered(response=RESPONSE),
        Joined(),
        Ended(reason=None),
        Reported(report=REPORT),
        Ended(reason=None),
    ]
    assert invitation.state is InvitationState.TAKEN
    assert meeting.inviter.closed
    assert meeting.joiner.closed


@pytest.mark.parametrize("piece", [1, 7, 64])
def test_it_works_in_pieces(piece: int) -> None:
    inviter, joiner = invite().talk(known("inviter")), join()
    seen: list[object] = []
    for _ in range(4):
        for source, target in ((joiner, inviter), (inviter, joiner)):
            data = source.data_to_send()
            for start in range(0, len(data), piece):
                target.receive_data(data[start : start + piece], NOW)
            while (event := target.next_event()) is not None:
                seen.append(event)
                if isinstance(event, Asked):
                    inviter.respond(RESPONSE)
                elif isinstance(event, Answered):
                    joiner.joined()
                elif isinstance(event, Joined):
                    inviter.report(REPORT)
    assert seen[-2:] == [Reported(report=REPORT), Ended(reason=None)]


def test_who_goes_before_its_guess_burns_nothing() -> None:
    invitation = invite()
    for count in range(5):
        talk = invitation.talk(known("inviter"))
        talk.receive_data(join(WRONG, f"scanner {count}").data_to_send(), NOW)
        talk.receive_eof()
    assert invitation.state is InvitationState.OPEN
    assert isinstance(meet(invitation).run().events[0], Asked)


def test_another_first_word_is_not_for_this_invitation_and_burns_nothing() -> None:
    invitation = invite()
    meeting = meet(invitation, join(ELSEWHERE)).run()
    assert kinds(meeting) == [Kind.NO_SUCH_TARGET, Kind.NO_SUCH_TARGET]
    assert invitation.state is InvitationState.OPEN


def test_who_waits_beside_a_guess_or_too_long_is_told() -> None:
    invitation = invite()
    early, late = invitation.talk(known("early")), invitation.talk(known("late"))
    early.recheck(NOW)
    assert not early.closed
    meet(invitation).run()
    early.recheck(NOW)
    assert refusals(early.data_to_send()) == [Refusal.USED]
    invitation.state = InvitationState.OPEN
    late.recheck(EXPIRES)
    assert refusals(late.data_to_send()) == [Refusal.EXPIRED]


def test_who_was_let_in_is_not_sent_away_by_time() -> None:
    talk = inviter_in(2)
    talk.recheck(EXPIRES)
    assert not talk.closed


def changed_once(number: int, change: Relay, *, down: bool) -> Meeting:
    """A meeting in which the relay changes its n-th piece in one direction."""
    counter = itertools.count()

    def relay(data: bytes) -> bytes:
        return change(data) if next(counter) == number else data

    meeting = meet()
    if down:
        meeting.to_joiner = relay
    else:
        meeting.to_inviter = relay
    return meeting.run()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.booleans(), st.integers(0, 10_000), st.integers(0, 7))
def test_an_evil_relay_that_flips_a_bit_gets_no_machine_in(number: int, down: bool, byte: int, bit: int) -> None:
    def flip(data: bytes) -> bytes:
        place = byte % len(data)
        return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]

    meeting = changed_once(number, flip, down=down)
    full = [Asked, Answered, Joined, Ended, Reported, Ended]
    assert [type(event) for event in meeting.events] != full
    if number < 2:  # before the answer was believed: no machine has joined
        assert not any(isinstance(event, Joined) for event in meeting.events)
    assert not any(isinstance(event, Asked) and event.request != REQUEST for event in meeting.events)
    assert not any(isinstance(event, Answered) and event.response != RESPONSE for event in meeting.events)
    assert not any(isinstance(event, Reported) and event.report != REPORT for event in meeting.events)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.booleans(), st.integers(0, 10_000))
def test_what_is_cut_off_ends_in_waiting_and_then_in_an_error(number: int, down: bool, length: int) -> None:
    meeting = changed_once(number, lambda data: data[: length % len(data)], down=down)
    for end in (meeting.inviter, meeting.joiner):
        end.receive_eof()
        assert end.closed
    assert [type(event) for event in meeting.events] != [Asked, Answered, Joined, Ended, Reported, Ended]


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_ends_a_talk_or_is_waited_out_and_burns_nothing(data: bytes) -> None:
    invitation = invite()
    talk = invitation.talk(known("inviter"))
    talk.receive_data(data, NOW)
    talk.receive_eof()
    assert talk.closed
    assert invitation.state is InvitationState.OPEN


STATES = range(4)


def inviter_in(state: int) -> InviterTalk:
    """A talk that waits for: HELLO, REQUEST, its own answer, JOINED."""
    talk, joiner = invite().talk(known("inviter")), join()
    for step in range(state):
        if step < 2:
            talk.receive_data(joiner.data_to_send(), NOW)
            joiner.receive_data(talk.data_to_send(), NOW)
        else:
            talk.respond(RESPONSE)
    while talk.next_event() is not None:
        pass
    talk.data_to_send()
    return talk


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", FrameKind)
def test_in_each_state_one_kind_of_frame_may_come(state: int, kind: FrameKind) -> None:
    talk = inviter_in(state)
    expected = {0: FrameKind.HELLO, 1: FrameKind.REQUEST, 3: FrameKind.JOINED}.get(state)
    if kind is expected:
        return
    talk.receive_data(frame(kind, bytes(SIZES[kind][0])), NOW)
    assert talk.closed
    event = talk.next_event()
    assert isinstance(event, Ended)
    said = refusals(talk.data_to_send())
    assert said == ([] if kind is FrameKind.REFUSAL else [Refusal.DAMAGED])


@pytest.mark.parametrize("kind", FrameKind)
def test_the_joiner_too_expects_one_kind_at_a_time(kind: FrameKind) -> None:
    joiner = join()
    joiner.data_to_send()
    if kind is FrameKind.ANSWER:
        return
    joiner.receive_data(frame(kind, bytes(SIZES[kind][0])), NOW)
    assert joiner.closed
    assert isinstance(joiner.next_event(), Ended)


def test_nothing_is_heard_or_said_after_the_end() -> None:
    talk = inviter_in(0)
    talk.give_up()
    assert refusals(talk.data_to_send()) == [Refusal.FAILED]
    talk.receive_data(join().data_to_send(), NOW)
    talk.receive_eof()
    talk.give_up()
    assert talk.data_to_send() == b""
    assert [type(event) for event in iter(talk.next_event, None)] == [Ended]


def test_a_caller_out_of_step_is_told() -> None:
    talk, joiner = inviter_in(0), join()
    calls: list[Callable[[], None]] = [lambda: talk.respond(b""), lambda: talk.report(b""), joiner.joined]
    for call in calls:
        with pytest.raises(PairingError, match="is not due now"):
            call()


@pytest.mark.parametrize("number", range(256))
def test_every_refusal_is_a_sentence(number: int) -> None:
    joiner = join()
    joiner.receive_data(frame(FrameKind.REFUSAL, bytes([number])), NOW)
    event = joiner.next_event()
    assert isinstance(event, Ended)
    assert len(str(event.reason)) > 20


def test_another_version_is_told_as_such() -> None:
    talk = invite().talk(known("inviter"))
    talk.receive_data(join().data_to_send().replace(b"btjoin/1", b"btjoin/2"), NOW)
    assert refusals(talk.data_to_send()) == [Refusal.VERSION]


def test_who_reads_along_sees_no_payload_and_no_word_of_the_code() -> None:
    request = b"canary " * 40
    joiner = Joiner(CODE, request, known("joiner"))
    seen = b"".join(meet(joiner=joiner).run().sent)
    for secret in (b"canary", RESPONSE, REPORT, *(word.encode() for word in CODE.words)):
        assert secret not in seen


def test_who_learns_the_code_later_opens_no_recording() -> None:
    meeting = meet().run()
    hello, answer = meeting.sent[0][5:], meeting.sent[1][5:]
    request = meeting.sent[2][5:]
    exchange = inviter_exchange(CODE.secret, known("a stranger"))
    exchange.start()
    sealing = Sealing(agree(exchange, hello[-33:], JOINER_SIDE), hello + answer, inviter=True)
    assert not sealing.proves(request[:32])
    with pytest.raises(PairingError, match="was changed"):
        sealing.open(FrameKind.REQUEST, request[32:])
