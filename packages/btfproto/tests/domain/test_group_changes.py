"""Groups: after any sequence of changes exactly the members may what the group may."""

from __future__ import annotations

from btfproto.testing.domains import DAY, NOW
from btfproto.testing.groups import ALICE, BOB, CAROL, NOTHING, Friends
from btlib import Identity, Rights
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

PEOPLE = (ALICE, BOB, CAROL)


class Changes(RuleBasedStateMachine):
    """Any sequence of changes, against what a set of names and dates says."""

    def __init__(self) -> None:
        super().__init__()
        self.friends = Friends()
        self.until: dict[Identity, int] = {}
        self.reading = self.writing = False

    @rule(who=st.sampled_from(PEOPLE), days=st.integers(1, 5))
    def add(self, who: Identity, days: int) -> None:
        until = self.friends.now + 2 + days * DAY
        if until >= self.until.get(who, 0):
            self.friends.add(who, until=until)
            self.until[who] = until

    @precondition(lambda self: self.until)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.until, key=lambda one: str(one.principal))))
        self.friends.remove(who)
        del self.until[who]

    @rule()
    def new_keys(self) -> None:
        self.friends.remove()

    @precondition(lambda self: not self.writing)
    @rule(read=st.booleans(), write=st.booleans())
    def grant(self, read: bool, write: bool) -> None:
        if read or write:
            self.friends.give(Rights.WRITE if write else NOTHING, read=read)
            self.reading, self.writing = self.reading or read, self.writing or write

    @rule()
    def wait(self) -> None:
        self.friends.now += DAY

    @invariant()
    def exactly_the_members_may(self) -> None:
        now = self.friends.now
        for who in PEOPLE:
            member = now <= self.until.get(who, -1)
            assert self.friends.may_read(who) == (member and self.reading)
            lasts = now <= NOW + 20 * DAY
            assert self.friends.may_write(who) == (member and self.writing and lasts)


TestAnySequenceOfChanges = Changes.TestCase
TestAnySequenceOfChanges.settings = settings(max_examples=15, stateful_step_count=10, deadline=None)
