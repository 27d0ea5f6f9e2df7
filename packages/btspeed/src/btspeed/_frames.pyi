from typing import TypeVar

Call = TypeVar("Call")
Send = TypeVar("Send")
Reply = TypeVar("Reply")
Route = TypeVar("Route")

def take_plain_frames(
    places: tuple[
        dict[int, object],
        dict[int, float],
        set[int],
        dict[int, Route],
        int,
        int,
        int,
        int,
        type[Call],
        type[Send],
        type[Reply],
    ],
    buffer: bytearray,
    start: int,
    end: int,
    window: int,
    now: float,
) -> tuple[int, list[Call | Send | Reply], int, int, int]: ...
