"""What a change breaks, for whom, and who has to be changed first."""

from __future__ import annotations

from btrun.protocol import END, Protocol, Role, State, changes, diff
from btrun.protocol.examples.transfer import Transfer
from msgspec import Struct


class Ask(Struct, frozen=True):
    name: str


class Yes(Struct, frozen=True): ...


class No(Struct, frozen=True): ...


class Later(Struct, frozen=True): ...


class Leave(Struct, frozen=True): ...


class One(Protocol):
    client = Role("")
    server = Role("")
    ready = State("")
    asked = State("")
    ready.lets(client, {Ask: asked, Leave: END})
    asked.lets(server, {Yes: ready, No: ready})


def texts(old: type[Protocol], new: type[Protocol]) -> list[str]:
    return [f"{change.role} {change}" for change in changes(old, new)]


def test_a_protocol_does_not_differ_from_itself() -> None:
    assert changes(Transfer, Transfer) == ()
    assert diff(Transfer, Transfer).endswith("the versions are the same on the wire\n")


def test_a_new_message_is_safe_for_its_sender_and_breaks_an_old_receiver() -> None:
    class New(Protocol):
        client = Role("")
        server = Role("")
        ready = State("")
        asked = State("")
        ready.lets(client, {Ask: asked, Leave: END})
        asked.lets(server, {Yes: ready, No: ready, Later: ready})

    assert texts(One, New) == [
        "client breaks: in asked it may now get Later, which an old one does not know",
        "server safe: in asked it may now also send Later; an old one never does",
    ]
    assert diff(One, New).splitlines()[1:] == [
        "an old client among new others",
        "  breaks: in asked it may now get Later, which an old one does not know",
        "an old server among new others",
        "  safe: in asked it may now also send Later; an old one never does",
        "change client first; the others may stay old until later",
    ]


def test_a_message_that_is_gone_breaks_its_old_sender() -> None:
    class New(Protocol):
        client = Role("")
        server = Role("")
        ready = State("")
        asked = State("")
        ready.lets(client, {Ask: asked, Leave: END})
        asked.lets(server, {Yes: ready})

    assert texts(One, New) == [
        "client safe: in asked it gets no No any more",
        "server breaks: in asked it may no more send No, as an old one may",
    ]


def test_other_fields_break_both() -> None:
    class Ask(Struct, frozen=True):
        name: str
        reason: str

    class New(Protocol):
        client = Role("")
        server = Role("")
        ready = State("")
        asked = State("")
        ready.lets(client, {Ask: asked, Leave: END})
        asked.lets(server, {Yes: ready, No: ready})

    assert texts(One, New) == [
        "client breaks: in ready the message Ask has other fields",
        "server breaks: in ready the message Ask has other fields",
    ]
    assert diff(One, New).endswith("speak both versions for a while: no order of changing the roles works\n")


def test_another_chooser_breaks_both() -> None:
    class New(Protocol):
        client = Role("")
        server = Role("")
        ready = State("")
        asked = State("")
        ready.lets(client, {Ask: asked, Leave: END})
        asked.lets(client, {Yes: END})

    assert texts(One, New) == [
        "client breaks: in asked it receives, but now it sends",
        "server breaks: in asked it sends, but now it receives",
    ]


def test_an_end_that_goes_on_breaks_both() -> None:
    class New(Protocol):
        client = Role("")
        server = Role("")
        ready = State("")
        asked = State("")
        leaving = State("")
        ready.lets(client, {Ask: asked, Leave: leaving})
        asked.lets(server, {Yes: ready, No: ready})
        leaving.lets(server, {Yes: END})

    assert texts(One, New) == [
        "client breaks: in end it is at the end, but now it receives",
        "server breaks: in end it is at the end, but now it sends",
    ]


def test_new_names_of_states_and_meanings_change_nothing() -> None:
    class Renamed(Protocol):
        """A comment."""

        server = Role("with words")
        client = Role("with words")
        idle = State("with words")
        busy = State("with words")
        busy.lets(server, {No: idle, Yes: idle})
        idle.lets(client, {Leave: END, Ask: busy})

    assert changes(One, Renamed) == ()


def test_a_shorter_time_out_breaks_the_one_that_must_keep_it() -> None:
    class Hasty(Protocol):
        client = Role("")
        server = Role("")
        ready = State("")
        asked = State("", timeout=5)
        ready.lets(client, {Ask: asked, Leave: END})
        asked.lets(server, {Yes: ready, No: ready})

    assert texts(One, Hasty) == ["server breaks: in asked it must send within 5 s, sooner than an old one knows"]
    assert texts(Hasty, One) == ["server safe: in asked it may now take longer to send"]


def test_roles_that_come_and_go_are_named() -> None:
    class Three(Protocol):
        client = Role("")
        server = Role("")
        witness = Role("")
        ready = State("")
        told = State("")
        ready.lets(client, {Leave: told}, to=server)
        told.lets(server, {Leave: END}, to=witness)

    assert "a new role, witness: everyone must change at once" in diff(One, Three)
    assert "witness breaks: the role is gone" in texts(Three, One)
    assert "server breaks: in told it is at the end, but now it sends" not in texts(Three, One)


def test_a_message_that_goes_to_another_role_breaks_its_sender() -> None:
    class First(Protocol):
        a = Role("")
        b = Role("")
        c = Role("")
        start = State("")
        then = State("")
        start.lets(a, {Yes: then}, to=b)
        then.lets(a, {Leave: END}, to=c)

    class Second(Protocol):
        a = Role("")
        b = Role("")
        c = Role("")
        start = State("")
        then = State("")
        start.lets(a, {Yes: then}, to=c)
        then.lets(a, {Leave: END}, to=b)

    assert "a breaks: in start Yes goes to the c and no more to the b" in texts(First, Second)
