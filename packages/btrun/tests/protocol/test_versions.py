"""Versions: both sides make the same choice, or both learn why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import anyio
import pytest
from btlib import Kind
from btrun.protocol import END, Ended, Handle, MemoryChannel, Protocol, Role, Side, State, Taking, any_version
from btrun.protocol._versions import MAX_VERSIONS, Versions, choose
from btrun.protocol.errors import SessionEndedError, StateTimeoutError, VersionError
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

Run = Callable[[Callable[[], Any]], None]
Pair = tuple[MemoryChannel, MemoryChannel]


class Go(Struct, frozen=True): ...


class Stop(Struct, frozen=True): ...


class Old(Protocol):
    left = Role("")
    right = Role("")
    start = State("")
    start.lets(left, {Go: END})


class New(Protocol):
    left = Role("")
    right = Role("")
    start = State("")
    start.lets(left, {Go: END, Stop: END})


class OldLeft(Handle):
    state: ClassVar[str] = "start"

    def send(self, message: Go) -> Taking[Ended]:
        return self._send(message)


class NewLeft(Handle):
    state: ClassVar[str] = "start"

    def send(self, message: Go | Stop) -> Taking[Ended]:
        return self._send(message)


class OldRight(Handle):
    state: ClassVar[str] = "start"

    class Go(NamedTuple):
        message: Go
        then: Ended

    def receive(self) -> Taking[Go]:
        return self._receive()


old_left = Side(Old, "left", OldLeft, fingerprint=Old.fingerprint)
new_left = Side(New, "left", NewLeft, fingerprint=New.fingerprint)
old_right = Side(Old, "right", OldRight, fingerprint=Old.fingerprint)

numbers = st.lists(st.integers(0, 6), unique=True, max_size=5).map(tuple)


@given(ours=numbers, theirs=numbers)
def test_both_sides_choose_the_same(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    chosen = choose(ours, theirs)
    assert chosen == choose(theirs, ours)
    assert (chosen is None) == (not set(ours) & set(theirs))


def test_the_version_that_both_like_best_is_chosen() -> None:
    assert choose((3, 2, 1), (3, 2)) == 3
    assert choose((3, 2, 1), (2, 1)) == 2
    assert choose((), ()) is None


def test_a_side_with_two_versions_speaks_the_old_one_with_an_old_side(run: Run, pair: Pair) -> None:
    async def new() -> None:
        async with any_version(new_left, old_left)(pair[0]) as handle:
            assert isinstance(handle, OldLeft)
            await handle.send(Go())

    async def old() -> None:
        async with old_right(pair[1]) as handle:
            message, _ = await handle.receive()
            assert message == Go()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(new)
            tasks.start_soon(old)

    run(main)


def test_without_a_common_version_both_sides_learn_both_lists(run: Run, pair: Pair) -> None:
    async def new() -> None:
        with pytest.raises(VersionError) as error:
            await new_left(pair[0]).__aenter__()
        assert f"{Old.fingerprint:016x} of New, this side version {New.fingerprint:016x}" in str(error.value)
        assert "bt protocol diff" in str(error.value)
        assert error.value.kind == Kind.NOT_SUPPORTED

    async def old() -> None:
        with pytest.raises(VersionError, match=f"version {New.fingerprint:016x} of Old"):
            await old_right(pair[1]).__aenter__()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(new)
            tasks.start_soon(old)

    run(main)


def test_a_side_that_offers_a_great_many_versions_is_heard_for_the_first_few(run: Run, pair: Pair) -> None:
    async def main() -> None:
        await pair[1].send(Versions(fingerprints=(*range(1000), Old.fingerprint)))
        with pytest.raises(VersionError) as error:
            await old_left(pair[0]).__aenter__()
        assert str(error.value).count(",") == MAX_VERSIONS

    run(main)


def test_a_side_that_leaves_before_it_names_a_version_ends_the_opening(run: Run, pair: Pair) -> None:
    async def main() -> None:
        pair[1].close(Kind.BUSY, "not now")
        with pytest.raises(SessionEndedError, match="not now"):
            await old_left(pair[0]).__aenter__()

    run(main)


def test_a_side_that_says_no_version_is_not_waited_for(run: Run, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btrun.protocol._versions.AGREE_SECONDS", 0.0)
    ours, theirs = pair

    async def main() -> None:
        with pytest.raises(
            StateTimeoutError, match="did not say within 0 seconds which version of Old it speaks"
        ) as error:
            await old_left(ours).__aenter__()
        assert error.value.kind is Kind.DEADLINE
        await theirs.receive({})
        with pytest.raises(SessionEndedError, match="which version of Old it speaks") as told:
            await theirs.receive({})
        assert told.value.kind is Kind.DEADLINE

    run(main)
