"""A sealed topic against a model: whatever a broker does, what is delivered was published, once, there, in order."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from btlib import BlockPath
from btlib.testing import make_domain_identities
from bttp import Message
from bttp.sealed import RefusedMessageError, SealedMessage, SealedTopic, Session, TopicKeeper, TopicKeyError
from bttp.sealed._message import Envelope
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

DOMAIN = make_domain_identities("keeper", "a", "b", "reader", "guest")
TOPIC = DOMAIN.path.child("warm")
PLACES = (TOPIC, TOPIC.child("kitchen"), DOMAIN.path.child("cold"))
PUBLISHERS = ("a", "b")


class Published:
    """What a publisher said, and what the model knows of it."""

    def __init__(self, who: str, at: BlockPath, body: bytes, message: bytes, guest: bool) -> None:
        self.who, self.at, self.body, self.message = who, at, body, message
        self.guest = guest  #: the guest was a member when it was sealed
        envelope = Envelope.decode(message)
        self.stream = (at, who, envelope.session)
        self.sequence = envelope.sequence


class SealedTopicMachine(RuleBasedStateMachine):
    """One broker that keeps everything and delivers what it likes, where it likes, as often as it likes."""

    @initialize()
    def begin(self) -> None:
        self.now = 1_000_000.0
        members = [DOMAIN[name].public for name in (*PUBLISHERS, "reader")]
        self.keeper = TopicKeeper(DOMAIN["keeper"], TOPIC, members, lifetime=1000, clock=self.clock)
        self.guest_in = False
        self.topics = {name: self.topic_of(name) for name in (*PUBLISHERS, "reader")}
        self.guest = SealedTopic(TOPIC, DOMAIN["guest"], clock=self.clock)
        self.sessions: dict[str, Session] = {name: self.topics[name].session() for name in PUBLISHERS}
        self.published: list[Published] = []
        self.heard: dict[tuple[BlockPath, str, bytes], list[SealedMessage]] = defaultdict(list)
        self.sealed_for_guest = dict.fromkeys(PUBLISHERS, False)

    def clock(self) -> float:
        return self.now

    def topic_of(self, name: str) -> SealedTopic:
        return SealedTopic(TOPIC, DOMAIN[name], self.keeper.bundle, clock=self.clock)

    @rule(who=st.sampled_from(PUBLISHERS), at=st.sampled_from(PLACES[:2]))
    def publish(self, who: str, at: BlockPath) -> None:
        body = b"%d" % len(self.published)
        try:
            message = self.sessions[who].seal(body, at)
        except TopicKeyError:
            return  # its key has ended
        self.published.append(Published(who, at, body, message, self.sealed_for_guest[who]))

    @rule(who=st.sampled_from(PUBLISHERS))
    def restart(self, who: str) -> None:
        """A publisher forgets everything."""
        self.sessions[who] = self.topics[who].session()

    @rule(guest=st.booleans())
    def rotate(self, guest: bool) -> None:
        if guest != self.guest_in:
            (self.keeper.admit(DOMAIN["guest"].public) if guest else self.keeper.remove(DOMAIN["guest"].principal))
            self.guest_in = guest
        else:
            self.keeper.rotate()

    @rule(who=st.sampled_from((*PUBLISHERS, "reader")))
    def fetch(self, who: str) -> None:
        self.topics[who].take_keys(self.keeper.bundle)
        if who in PUBLISHERS:
            self.sealed_for_guest[who] = self.guest_in

    @rule()
    def guest_fetches(self) -> None:
        try:
            self.guest.take_keys(self.keeper.bundle)
        except TopicKeyError:
            assert not self.guest_in

    @rule(seconds=st.sampled_from((1, 200, 600)))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(data=st.data(), at=st.sampled_from(PLACES))
    def deliver(self, data: st.DataObject, at: BlockPath) -> None:
        if not self.published:
            return
        said = data.draw(st.sampled_from(self.published))
        self._deliver_to_guest(said, at)
        try:
            opened = self.topics["reader"].open(Message(at, memoryview(said.message)))
        except (RefusedMessageError, TopicKeyError):
            return
        assert (opened.topic, opened.body, opened.publisher) == (said.at, said.body, DOMAIN[said.who].principal)
        assert at == said.at
        before = self.heard[said.stream]
        assert all(old.sequence < opened.sequence for old in before)
        assert opened.missing == (opened.sequence - before[-1].sequence - 1 if before else 0)
        before.append(opened)

    def _deliver_to_guest(self, said: Published, at: BlockPath) -> None:
        try:
            self.guest.open(Message(at, memoryview(said.message)))
        except (RefusedMessageError, TopicKeyError):
            return
        assert said.guest

    @invariant()
    def no_number_is_used_twice(self) -> None:
        used = [(said.stream, said.sequence) for said in getattr(self, "published", [])]
        assert len(set(used)) == len(used)


TestSealedTopic = SealedTopicMachine.TestCase
TestSealedTopic.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_threads_never_get_one_number_twice() -> None:
    """Two messages under one number would be two under one nonce."""
    keeper = TopicKeeper(DOMAIN["keeper"], TOPIC, [DOMAIN["a"].public])
    session = SealedTopic(TOPIC, DOMAIN["a"], keeper.bundle).session()
    with ThreadPoolExecutor(8) as pool:
        messages = list(pool.map(lambda _: session.seal(b"x"), range(400)))
    assert sorted(Envelope.decode(message).sequence for message in messages) == list(range(400))


def test_a_message_that_failed_to_be_sealed_uses_up_no_number_twice() -> None:
    keeper = TopicKeeper(DOMAIN["keeper"], TOPIC, [DOMAIN["a"].public])
    session = SealedTopic(TOPIC, DOMAIN["a"], keeper.bundle).session()
    session.seal(b"x")
    for bad in ("no bytes", 7):
        try:
            session.seal(bad)  # type: ignore[arg-type]
        except TypeError:
            continue
        raise AssertionError("it was sealed")
    assert Envelope.decode(session.seal(b"x")).sequence == 3
