"""Those who hear of something that happens once."""

from __future__ import annotations

import threading

from bttp._callbacks import Callback, Callbacks


def test_each_is_called_once_before_or_after_and_in_order() -> None:
    heard: list[int] = []
    callbacks = Callbacks(lambda callback: callback())
    callbacks.add(lambda: heard.append(1))
    forget = callbacks.add(lambda: heard.append(2))
    callbacks.add(lambda: heard.append(3))
    forget()
    callbacks.tell()
    callbacks.add(lambda: heard.append(4))()
    callbacks.tell()
    assert heard == [1, 3, 4]


def test_none_is_missed_by_threads_that_race() -> None:
    for _ in range(200):
        heard: list[int] = []
        callbacks = Callbacks(lambda callback: callback())
        start = threading.Barrier(2)

        def add(callbacks: Callbacks = callbacks, start: threading.Barrier = start, heard: list[int] = heard) -> None:
            start.wait()
            for n in range(50):
                callbacks.add(lambda n=n: heard.append(n))  # type: ignore[misc]

        thread = threading.Thread(target=add)
        thread.start()
        start.wait()
        callbacks.tell()
        thread.join()
        assert sorted(heard) == list(range(50))


def test_one_that_fails_is_for_the_runner_to_judge() -> None:
    heard: list[str] = []

    def run(callback: Callback) -> None:
        try:
            callback()
        except ZeroDivisionError:
            heard.append("failed")

    callbacks = Callbacks(run)
    callbacks.add(lambda: heard.append(str(1 // 0)))
    callbacks.add(lambda: heard.append("well"))
    callbacks.tell()
    assert heard == ["failed", "well"]
