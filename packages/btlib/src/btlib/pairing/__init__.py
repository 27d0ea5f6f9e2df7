"""Enrolment by a code: two machines that share four words agree on keys, and on them send what enrolment sends.

    invitation = Invitation(code, expires=now + 600)          the inviting end; one code, one guess
    talk = invitation.talk(os.urandom)                        one for each that knocks
    joiner = Joiner(code, request, os.urandom)                the joining end

Both ends are state machines without I/O: give them bytes by `receive_data`, then poll `next_event` until None, then
send what `data_to_send` gives. Whoever reads along, or stands in between, learns nothing and gets one guess. What is
sent is opaque here: bytes of an enrolment request and response. The format is `docs/spec/enrolment.md`.
"""

from ._code import InvitationCode
from ._frames import Frame, FrameKind, FrameReader, Refusal, frame, meeting_of, wait_frame
from ._inviter import Asked, Invitation, InvitationState, InviterTalk, Joined
from ._joiner import Answered, Joiner, Reported
from ._limits import ANSWER_SECONDS, MAX_PAYLOAD, MAX_REPORT, TALK_SECONDS
from ._talk import Ended, heard

__all__ = [
    "ANSWER_SECONDS",
    "MAX_PAYLOAD",
    "MAX_REPORT",
    "TALK_SECONDS",
    "Answered",
    "Asked",
    "Ended",
    "Frame",
    "FrameKind",
    "FrameReader",
    "Invitation",
    "InvitationCode",
    "InvitationState",
    "InviterTalk",
    "Joined",
    "Joiner",
    "Refusal",
    "Reported",
    "frame",
    "heard",
    "meeting_of",
    "wait_frame",
]
