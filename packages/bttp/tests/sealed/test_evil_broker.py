"""Brokers, members and strangers that want more than is theirs, over real sockets and in every shell."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import bttp
import bttp.blocking
import pytest
from btlib import BlockPath, Identity, Principal, Revocations, Rights
from btlib.errors import CapabilityError
from btlib.kinds import Kind
from btlib.process_keys import ProcessKeys
from bttp import sealed
from bttp.sealed._bundle import KeyBundle, open_bundle
from bttp.sealed._group_keys import GroupKey
from bttp.sealed._message import Credential, SessionKey, encode_credential

from .sealed_rig import COLD, DOMAIN, SHELLS, WARM, Delivery, EvilBroker, Play, Shell, playing, read

CANARY = b"canary: 21.5 degrees"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    return SHELLS[request.param]


def key_of(play: Play) -> GroupKey:
    """The group key, as a member has it."""
    return open_bundle(KeyBundle.decode(play.keeper.bundle), WARM, DOMAIN["display"].opener, int(time.time()))


def forgery(key: GroupKey, who: Identity, at: BlockPath = WARM) -> bytes:
    """What somebody with the group key can make, whatever else is missing."""
    credential = encode_credential(Credential(public=who.public, chain=who.chains[0]))
    session = SessionKey(key, at, who.principal, bytes(16))
    return session.seal(who.signer, credential, 0, int(time.time() * 1000), b"forged")


def test_a_broker_reads_nothing(shell: Shell) -> None:
    broker = EvilBroker()
    with playing(shell, broker) as play, play.both() as (publishes, reads):
        assert publishes.publish(CANARY * 1000) == 1
        message = read(reads)
        assert (message.body, message.publisher, message.topic) == (CANARY * 1000, DOMAIN["sensor"].principal, WARM)
        everything = b"".join(broker.seen) + play.keeper.bundle
        assert b"canary" not in everything
        assert key_of(play).key not in everything
        with pytest.raises(sealed.TopicKeyError, match="are not for"):
            play.topic("server")


def test_a_replay_is_refused(shell: Shell) -> None:
    broker = EvilBroker(lambda broker, topic, body: [(topic, body), *((topic, old) for old in broker.seen)])
    with playing(shell, broker) as play, play.both() as (publishes, reads):
        for body in (b"0", b"1", b"2"):
            publishes.publish(body)
            heard = read(reads)
            assert (heard.body, heard.missing) == (body, 0)
        publishes.publish(b"last")
        assert read(reads).body == b"last"
        assert reads.refusals == {Kind.ROLLBACK: 1 + 2 + 3}


def test_an_old_recording_is_refused_by_who_comes_later(shell: Shell) -> None:
    broker = EvilBroker(lambda broker, topic, body: [(topic, broker.seen[0]), (topic, body)])
    with playing(shell, broker) as play:
        with play.both() as (publishes, reads):
            publishes.publish(b"old")
            assert read(reads).body == b"old"
        play.offsets = {"sensor": 301.0, "display": 301.0}
        with play.both() as (publishes, reads):
            publishes.publish(b"new")
            assert read(reads).body == b"new"
            assert reads.refusals == {Kind.ROLLBACK: 1}


def test_another_order_is_refused_and_what_was_overtaken_is_missing(shell: Shell) -> None:
    def swap(broker: EvilBroker, topic: BlockPath, body: bytes) -> list[Delivery]:
        return [(topic, body), (topic, broker.seen[-2])] if len(broker.seen) % 2 == 0 else []

    with playing(shell, EvilBroker(swap)) as play, play.both() as (publishes, reads):
        for number in range(4):
            publishes.publish(b"%d" % number)
        assert [(each.body, each.missing) for each in (read(reads), read(reads))] == [(b"1", 0), (b"3", 1)]
        assert reads.refusals == {Kind.ROLLBACK: 1}


def test_what_is_dropped_is_counted(shell: Shell) -> None:
    broker = EvilBroker(lambda broker, topic, body: [(topic, body)] if len(broker.seen) % 3 == 1 else [])
    with playing(shell, broker) as play, play.both() as (publishes, reads):
        for number in range(7):
            publishes.publish(b"%d" % number)
        heard = [read(reads) for _ in range(3)]
        assert [(each.body, each.missing) for each in heard] == [(b"0", 0), (b"3", 2), (b"6", 2)]


def test_a_message_of_one_topic_is_none_of_another(shell: Shell) -> None:
    kitchen, cellar = WARM.child("kitchen"), WARM.child("cellar")
    places = {kitchen: cellar, cellar: COLD, WARM: WARM}
    broker = EvilBroker(lambda _broker, topic, body: [(places[topic], body)])
    with playing(shell, broker) as play, play.both(below=True) as (publishes, reads):
        publishes.publish(b"hot", at=kitchen)
        publishes.publish(b"cold", at=cellar)
        publishes.publish(b"end")
        assert read(reads).body == b"end"
        assert reads.refusals == {Kind.INTEGRITY: 2}


def test_topics_below_are_under_the_same_key_and_numbered_each_by_itself(shell: Shell) -> None:
    kitchen = WARM.child("kitchen")
    with playing(shell, EvilBroker()) as play, play.both(below=True) as (publishes, reads):
        for at in (None, kitchen, None, kitchen):
            publishes.publish(b"x", at=at)
        heard = [read(reads) for _ in range(4)]
        assert [(each.topic, each.sequence, each.missing) for each in heard] == [
            (WARM, 0, 0),
            (kitchen, 0, 0),
            (WARM, 1, 0),
            (kitchen, 1, 0),
        ]
        with pytest.raises(bttp.LocalProtocolError, match="is not below"):
            publishes.publish(b"x", at=COLD)


def test_nobody_forges_a_publisher(shell: Shell) -> None:
    """The display has the group key and EXECUTE, the broker has EXECUTE; neither may WRITE, and both may lie."""
    forged: list[bytes] = []
    broker = EvilBroker(lambda _broker, topic, body: [*((topic, each) for each in forged), (topic, body)])
    with playing(shell, broker) as play, play.both() as (publishes, reads):
        key = key_of(play)
        own = forgery(key, DOMAIN["display"])
        pretended = SessionKey(key, WARM, DOMAIN["sensor"].principal, bytes(16)).seal(
            DOMAIN["display"].signer,
            encode_credential(Credential(public=DOMAIN["sensor"].public, chain=DOMAIN["sensor"].chains[0])),
            0,
            int(time.time() * 1000),
            b"forged",
        )
        forged += [own, forgery(key, DOMAIN["server"]), pretended, b"", b"no message at all"]
        publishes.publish(b"true")
        assert read(reads).body == b"true"
        assert reads.refusals == {Kind.FORBIDDEN: 2, Kind.INTEGRITY: 1, Kind.PROTOCOL: 2}


def test_a_publisher_whose_chain_has_expired_is_refused(shell: Shell) -> None:
    """The broker kept the message back; the chain had ended when the subscriber got it."""
    short = DOMAIN.issue("sensor", time=(0, int(time.time()) + 1000))
    with playing(shell, EvilBroker(), ("sensor", "display", "keeper")) as play:
        play.offsets = {"display": 1001.0, "keeper": 1001.0}
        with (
            shell.subscriber(play.endpoint, DOMAIN["display"], play.topic("display")) as reads,
            shell.publisher(play.endpoint, short, play.topic("sensor", short)) as publishes,
            shell.publisher(play.endpoint, DOMAIN["keeper"], play.topic("keeper")) as others,
        ):
            publishes.publish(b"too late")
            others.publish(b"in time")
            assert read(reads).body == b"in time"
            assert reads.refusals == {Kind.EXPIRED: 1}


def test_a_revoked_publisher_reaches_nobody_who_knows_and_no_broker_that_checks(shell: Shell) -> None:
    def revoked(_root: Principal) -> Revocations:
        return Revocations(version=1, principals={DOMAIN["sensor"].principal: 1})

    knows = sealed.SealedTopic(WARM, DOMAIN["display"], revocations=revoked)
    with playing(shell, EvilBroker(), ("sensor", "display", "keeper")) as play:
        knows.take_keys(play.keeper.bundle)
        with (
            shell.subscriber(play.endpoint, DOMAIN["display"], knows) as reads,
            shell.publisher(play.endpoint, DOMAIN["sensor"], play.topic("sensor")) as publishes,
            shell.publisher(play.endpoint, DOMAIN["keeper"], play.topic("keeper")) as others,
        ):
            publishes.publish(b"revoked")
            others.publish(b"true")
            assert read(reads).body == b"true"
            assert reads.refusals == {Kind.FORBIDDEN: 1}
        own = sealed.SealedTopic(WARM, DOMAIN["sensor"], play.keeper.bundle, revocations=revoked)
        with pytest.raises(CapabilityError, match="was revoked"):
            own.session().seal(b"x")
    with (
        playing(shell, bttp.Broker(check=sealed.broker_check(revoked))) as play,
        shell.publisher(play.endpoint, DOMAIN["sensor"], play.topic("sensor")) as publishes,
        pytest.raises(bttp.RemoteError, match="was revoked"),
    ):
        publishes.publish(b"x")


def test_who_was_removed_reads_no_more_and_the_others_read_on(shell: Shell) -> None:
    """The broker gives everything to everybody, as if nobody had been removed."""
    broker = EvilBroker()
    with (
        playing(shell, broker, ("sensor", "display", "eve")) as play,
        shell.subscriber(play.endpoint, DOMAIN["display"], play.topic("display"), keys=True) as display,
        shell.subscriber(play.endpoint, DOMAIN["eve"], play.topic("eve")) as eve,
        shell.subscriber(play.endpoint, DOMAIN["eve"], play.topic("eve"), keys=True) as asking,
        shell.publisher(play.endpoint, DOMAIN["sensor"], play.topic("sensor"), keys=True) as sensor,
    ):
        assert sensor.publish(b"before") == 3
        assert [read(each).body for each in (display, eve, asking)] == [b"before"] * 3
        play.keeper.remove(DOMAIN["eve"].principal)
        sensor.refresh()
        sensor.publish(CANARY)
        message = read(display)
        assert (message.body, message.missing) == (CANARY, 0)
        with pytest.raises(sealed.TopicKeyError, match="fetch the keys") as refused:
            read(eve)
        assert refused.value.kind is Kind.STALE
        with pytest.raises(sealed.TopicKeyError, match="are not for") as refused:
            read(asking)
        assert refused.value.kind is Kind.FORBIDDEN


def test_a_subscriber_follows_keys_that_change_several_times_a_second(shell: Shell) -> None:
    with (
        playing(shell, EvilBroker()) as play,
        shell.subscriber(play.endpoint, DOMAIN["display"], play.topic("display"), keys=True) as reads,
        shell.publisher(play.endpoint, DOMAIN["sensor"], play.topic("sensor"), keys=True) as publishes,
    ):
        for number in range(6):
            play.keeper.rotate()
            publishes.refresh()
            publishes.publish(b"%d" % number)
            message = read(reads)
            assert (message.body, message.missing) == (b"%d" % number, 0)


def test_who_was_admitted_reads_nothing_from_before(shell: Shell) -> None:
    broker = EvilBroker(lambda broker, topic, body: [(topic, each) for each in broker.seen])
    with playing(shell, broker) as play, play.both() as (publishes, _):
        publishes.publish(b"before")
        play.keeper.admit(DOMAIN["eve"].public)
        with (
            shell.subscriber(play.endpoint, DOMAIN["eve"], play.topic("eve")) as eve,
            shell.publisher(play.endpoint, DOMAIN["sensor"], play.topic("sensor")) as sensor,
        ):
            sensor.publish(b"after")
            assert read(eve).body == b"after"
            assert eve.refusals == {Kind.EXPIRED: 1}


def test_invented_epochs_do_not_end_a_subscription_that_asks_for_keys(shell: Shell) -> None:
    """A member that may publish seals under a key that nobody gave it."""
    forged: list[bytes] = []
    broker = EvilBroker(lambda _broker, topic, body: [*((topic, each) for each in forged), (topic, body)])
    with playing(shell, broker) as play:
        key = key_of(play)
        invented = GroupKey(topic=WARM, epoch=2**32 - 1, key=bytes(32), not_before=0, not_after=2**40)
        other = GroupKey(topic=WARM, epoch=key.epoch, key=bytes(32), not_before=0, not_after=2**40)
        forged += [forgery(invented, DOMAIN["sensor"])] * 3 + [forgery(other, DOMAIN["sensor"])]
        with (
            shell.subscriber(play.endpoint, DOMAIN["display"], play.topic("display"), keys=True) as reads,
            shell.publisher(play.endpoint, DOMAIN["sensor"], play.topic("sensor")) as publishes,
        ):
            publishes.publish(b"true")
            assert read(reads).body == b"true"
            assert reads.refusals == {Kind.STALE: 3, Kind.INTEGRITY: 1}


def test_a_publisher_goes_on_without_its_keeper_until_its_key_ends(shell: Shell) -> None:
    broker, clock = EvilBroker(), [time.time()]

    def away(_request: bttp.Request) -> bytes:
        raise bttp.BttpError("the keeper is away", kind=Kind.UNREACHABLE)

    with playing(shell, broker) as play:
        play.answer = away
        topic = sealed.SealedTopic(WARM, DOMAIN["sensor"], play.keeper.bundle, clock=lambda: clock[0])
        with shell.publisher(play.endpoint, DOMAIN["sensor"], topic, keys=True) as publishes:
            publishes.publish(b"x")
            assert len(broker.seen) == 1
            clock[0] += 24 * 3600 + 2
            with pytest.raises(sealed.TopicKeyError, match="have ended") as refused:
                publishes.publish(b"x")
            assert refused.value.kind is Kind.EXPIRED
        with (
            shell.publisher(
                play.endpoint, DOMAIN["sensor"], sealed.SealedTopic(WARM, DOMAIN["sensor"]), keys=True
            ) as publishes,
            pytest.raises(bttp.RemoteError, match="the keeper is away"),
        ):
            publishes.publish(b"x")
        assert len(broker.seen) == 1


def test_a_publisher_takes_no_older_keys(shell: Shell) -> None:
    broker = EvilBroker()
    with playing(shell, broker, ("sensor", "eve")) as play:
        old = play.keeper.bundle
        play.keeper.remove(DOMAIN["eve"].principal)
        play.answer = lambda _request: old
        with shell.publisher(play.endpoint, DOMAIN["sensor"], play.topic("sensor"), keys=True) as publishes:
            with pytest.raises(sealed.TopicKeyError, match="go back") as refused:
                publishes.publish(CANARY)
            assert refused.value.kind is Kind.ROLLBACK
        assert broker.seen == []


def test_who_may_not_publish_is_told_before_anything_is_sent(shell: Shell) -> None:
    broker = EvilBroker()
    with (
        playing(shell, broker) as play,
        shell.publisher(play.endpoint, DOMAIN["display"], play.topic("display")) as publishes,
    ):
        with pytest.raises(CapabilityError, match="right to write"):
            publishes.publish(b"x")
        assert broker.seen == []


def test_an_honest_broker_passes_on_what_a_publisher_signed_and_nothing_else(shell: Shell) -> None:
    """And it needs no key for that."""
    broker = bttp.Broker(check=sealed.broker_check())
    with (
        playing(shell, broker) as play,
        play.both() as (publishes, reads),
        bttp.blocking.connect(play.endpoint, DOMAIN["display"], root=DOMAIN.principal) as link,
    ):
        for body, kind in ((b"plain", Kind.PROTOCOL), (forgery(key_of(play), DOMAIN["display"]), Kind.FORBIDDEN)):
            with pytest.raises(bttp.RemoteError) as refused:
                link.call(WARM, body)
            assert refused.value.kind is kind
        assert publishes.publish(b"true") == 1
        assert read(reads).body == b"true"
        assert (reads.refusals, broker.statistics.published) == ({}, 1)


def test_the_process_of_the_broker_publishes_sealed_messages_too(shell: Shell) -> None:
    broker = bttp.Broker()
    with playing(shell, broker) as play, play.both() as (_, reads):
        assert play.server is not None
        session = play.topic("sensor").session()
        assert play.server.publish(broker, WARM, session.seal(b"from here")) == 1
        assert read(reads).body == b"from here"


def test_many_publish_at_once_on_one_link_and_all_arrive(shell: Shell) -> None:
    """Large messages are overtaken by small ones on a link; a publisher's own are not."""
    bodies = [bytes([number]) * (100_000 if number % 5 == 0 else 10) for number in range(40)]
    with playing(shell, bttp.Broker()) as play, play.both() as (publishes, reads), ThreadPoolExecutor(8) as pool:
        list(pool.map(publishes.publish, bodies))
        heard = [read(reads) for _ in bodies]
        assert sorted(each.body[0] for each in heard) == list(range(40))
        assert [(each.sequence, each.missing) for each in heard] == [(number, 0) for number in range(40)]


def test_what_was_heard_on_one_link_is_remembered_on_the_next(shell: Shell) -> None:
    broker = EvilBroker(lambda broker, topic, body: [(topic, each) for each in broker.seen])
    with (
        playing(shell, broker) as play,
        shell.publisher(play.endpoint, DOMAIN["sensor"], play.topic("sensor")) as publishes,
    ):
        topic = play.topic("display")
        for number in range(2):
            with shell.subscriber(play.endpoint, DOMAIN["display"], topic, lasting=True) as reads:
                publishes.publish(b"%d" % number)
                assert read(reads).body == b"%d" % number
                assert reads.refusals == ({Kind.ROLLBACK: 1} if number else {})


def test_process_keys_publish_for_an_identity_in_a_chip(shell: Shell) -> None:
    chip = DOMAIN.issue("chip", ("topics",))
    processes = replace(chip, process_keys=ProcessKeys(chip.signer))
    with playing(shell, EvilBroker()) as play:
        play.keeper.admit(chip.public)
        with (
            shell.subscriber(play.endpoint, DOMAIN["display"], play.topic("display")) as reads,
            shell.publisher(play.endpoint, chip, play.topic("chip", processes)) as publishes,
        ):
            publishes.publish(b"x")
            message = read(reads)
            assert processes.process_keys is not None
            assert message.publisher == processes.process_keys.keys.public.principal
            assert [cap.subject for cap in message.chain.caps] == [chip.principal, message.publisher]


def test_a_subscriber_without_keys_fetches_them_first(shell: Shell) -> None:
    with (
        playing(shell, EvilBroker()) as play,
        shell.subscriber(
            play.endpoint, DOMAIN["display"], sealed.SealedTopic(WARM, DOMAIN["display"]), keys=True
        ) as reads,
        shell.publisher(
            play.endpoint, DOMAIN["sensor"], sealed.SealedTopic(WARM, DOMAIN["sensor"]), keys=True
        ) as publishes,
    ):
        publishes.publish(b"x")
        assert read(reads).body == b"x"


def test_both_verbs_still_need_execute_at_the_broker(shell: Shell) -> None:
    writer = DOMAIN.issue("writer", ("topics",), rights=Rights.WRITE)
    with playing(shell, bttp.Broker()) as play:
        play.keeper.admit(writer.public)
        topic = play.topic("writer", writer)
        with shell.publisher(play.endpoint, writer, topic) as publishes, pytest.raises(bttp.RemoteError) as refused:
            publishes.publish(b"x")
        assert refused.value.kind is Kind.FORBIDDEN
