"""Handles of TwoPhase: what each role may do in each of its states.

Generated from btrun.protocol.examples.two_phase; do not edit. To make it again:
bt protocol handles btrun.protocol.examples.two_phase:TwoPhase
"""

# fmt: off
# ruff: noqa

from __future__ import annotations

from typing import Any, ClassVar, Final, NamedTuple, overload

from msgspec import Struct

import btrun.protocol.examples.two_phase as declared
from btrun.protocol import Ended, Handle, Side, Taking

FINGERPRINT: Final = 0x462C3205ED6CC6CC


class CoordinatorStart(Handle):
    """As the coordinator: the coordinator asks the first."""

    state: ClassVar[str] = "start"

    __slots__ = ()

    def send(self, message: declared.Prepare) -> Taking[CoordinatorAsking]:
        return self._send(message)


class CoordinatorAsking(Handle):
    """As the coordinator: the coordinator asks the second."""

    state: ClassVar[str] = "asking"

    __slots__ = ()

    def send(self, message: declared.Prepare) -> Taking[CoordinatorVoting]:
        return self._send(message)


class CoordinatorVoting(Handle):
    """As the coordinator: the first answers."""

    state: ClassVar[str] = "voting"

    __slots__ = ()

    class Ready(NamedTuple):
        message: declared.Ready
        then: CoordinatorVotingReady

    class Unable(NamedTuple):
        message: declared.Unable
        then: CoordinatorVotingUnable

    def receive(self) -> Taking[Ready | Unable]:
        return self._receive()


class CoordinatorVotingReady(Handle):
    """As the coordinator: the second answers, the first is ready."""

    state: ClassVar[str] = "voting_ready"

    __slots__ = ()

    class Ready(NamedTuple):
        message: declared.Ready
        then: CoordinatorDeciding

    class Unable(NamedTuple):
        message: declared.Unable
        then: CoordinatorRefusing

    def receive(self) -> Taking[Ready | Unable]:
        return self._receive()


class CoordinatorVotingUnable(Handle):
    """As the coordinator: the second answers, the first is unable."""

    state: ClassVar[str] = "voting_unable"

    __slots__ = ()

    class Ready(NamedTuple):
        message: declared.Ready
        then: CoordinatorRefusing

    class Unable(NamedTuple):
        message: declared.Unable
        then: CoordinatorRefusing

    def receive(self) -> Taking[Ready | Unable]:
        return self._receive()


class CoordinatorDeciding(Handle):
    """As the coordinator: all answered, both ready: the coordinator decides."""

    state: ClassVar[str] = "deciding"

    __slots__ = ()

    @overload
    def send(self, message: declared.Commit) -> Taking[CoordinatorCommitting]: ...

    @overload
    def send(self, message: declared.Abort) -> Taking[CoordinatorAborting]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class CoordinatorRefusing(Handle):
    """As the coordinator: all answered, one unable: the coordinator must abort."""

    state: ClassVar[str] = "refusing"

    __slots__ = ()

    def send(self, message: declared.Abort) -> Taking[CoordinatorAborting]:
        return self._send(message)


class CoordinatorCommitting(Handle):
    """As the coordinator: the second is told to do it."""

    state: ClassVar[str] = "committing"

    __slots__ = ()

    def send(self, message: declared.Commit) -> Taking[CoordinatorFirstDone]:
        return self._send(message)


class CoordinatorAborting(Handle):
    """As the coordinator: the second is told to forget it."""

    state: ClassVar[str] = "aborting"

    __slots__ = ()

    def send(self, message: declared.Abort) -> Taking[CoordinatorFirstDone]:
        return self._send(message)


class CoordinatorFirstDone(Handle):
    """As the coordinator: the first confirms."""

    state: ClassVar[str] = "first_done"

    __slots__ = ()

    class Done(NamedTuple):
        message: declared.Done
        then: CoordinatorSecondDone

    def receive(self) -> Taking[Done]:
        return self._receive()


class CoordinatorSecondDone(Handle):
    """As the coordinator: the second confirms."""

    state: ClassVar[str] = "second_done"

    __slots__ = ()

    class Done(NamedTuple):
        message: declared.Done
        then: Ended

    def receive(self) -> Taking[Done]:
        return self._receive()


class FirstStart(Handle):
    """As the first: the coordinator asks the first."""

    state: ClassVar[str] = "start"

    __slots__ = ()

    class Prepare(NamedTuple):
        message: declared.Prepare
        then: FirstVoting

    def receive(self) -> Taking[Prepare]:
        return self._receive()


class FirstVoting(Handle):
    """As the first: the first answers."""

    state: ClassVar[str] = "voting"

    __slots__ = ()

    @overload
    def send(self, message: declared.Ready) -> Taking[FirstDecidingOrRefusing]: ...

    @overload
    def send(self, message: declared.Unable) -> Taking[FirstRefusing]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class FirstDecidingOrRefusing(Handle):
    """As the first: all answered, both ready: the coordinator decides; or all answered, one unable: the coordinator must abort."""

    state: ClassVar[str] = "deciding_or_refusing"

    __slots__ = ()

    class Commit(NamedTuple):
        message: declared.Commit
        then: FirstFirstDone

    class Abort(NamedTuple):
        message: declared.Abort
        then: FirstFirstDone

    def receive(self) -> Taking[Commit | Abort]:
        return self._receive()


class FirstRefusing(Handle):
    """As the first: all answered, one unable: the coordinator must abort."""

    state: ClassVar[str] = "refusing"

    __slots__ = ()

    class Abort(NamedTuple):
        message: declared.Abort
        then: FirstFirstDone

    def receive(self) -> Taking[Abort]:
        return self._receive()


class FirstFirstDone(Handle):
    """As the first: the first confirms."""

    state: ClassVar[str] = "first_done"

    __slots__ = ()

    def send(self, message: declared.Done) -> Taking[Ended]:
        return self._send(message)


class SecondAsking(Handle):
    """As the second: the coordinator asks the second."""

    state: ClassVar[str] = "asking"

    __slots__ = ()

    class Prepare(NamedTuple):
        message: declared.Prepare
        then: SecondVotingReadyOrVotingUnable

    def receive(self) -> Taking[Prepare]:
        return self._receive()


class SecondVotingReadyOrVotingUnable(Handle):
    """As the second: the second answers, the first is ready; or the second answers, the first is unable."""

    state: ClassVar[str] = "voting_ready_or_voting_unable"

    __slots__ = ()

    @overload
    def send(self, message: declared.Ready) -> Taking[SecondCommittingOrAborting]: ...

    @overload
    def send(self, message: declared.Unable) -> Taking[SecondAborting]: ...

    def send(self, message: Struct) -> Taking[Any]:
        return self._send(message)


class SecondCommittingOrAborting(Handle):
    """As the second: the second is told to do it; or the second is told to forget it."""

    state: ClassVar[str] = "committing_or_aborting"

    __slots__ = ()

    class Commit(NamedTuple):
        message: declared.Commit
        then: SecondSecondDone

    class Abort(NamedTuple):
        message: declared.Abort
        then: SecondSecondDone

    def receive(self) -> Taking[Commit | Abort]:
        return self._receive()


class SecondAborting(Handle):
    """As the second: the second is told to forget it."""

    state: ClassVar[str] = "aborting"

    __slots__ = ()

    class Abort(NamedTuple):
        message: declared.Abort
        then: SecondSecondDone

    def receive(self) -> Taking[Abort]:
        return self._receive()


class SecondSecondDone(Handle):
    """As the second: the second confirms."""

    state: ClassVar[str] = "second_done"

    __slots__ = ()

    def send(self, message: declared.Done) -> Taking[Ended]:
        return self._send(message)


as_coordinator: Final = Side(
    declared.TwoPhase,
    "coordinator",
    CoordinatorStart,
    (CoordinatorAsking, CoordinatorVoting, CoordinatorVotingReady, CoordinatorVotingUnable, CoordinatorDeciding, CoordinatorRefusing, CoordinatorCommitting, CoordinatorAborting, CoordinatorFirstDone, CoordinatorSecondDone),
    fingerprint=FINGERPRINT,
)

as_first: Final = Side(
    declared.TwoPhase,
    "first",
    FirstStart,
    (FirstVoting, FirstDecidingOrRefusing, FirstRefusing, FirstFirstDone),
    fingerprint=FINGERPRINT,
)

as_second: Final = Side(
    declared.TwoPhase,
    "second",
    SecondAsking,
    (SecondVotingReadyOrVotingUnable, SecondCommittingOrAborting, SecondAborting, SecondSecondDone),
    fingerprint=FINGERPRINT,
)
