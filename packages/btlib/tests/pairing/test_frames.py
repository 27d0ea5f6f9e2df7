"""The frames of an enrolment by a code, whole, in pieces, cut and changed."""

from __future__ import annotations

import pytest
from btlib.errors import PairingError
from btlib.pairing import Frame, FrameKind, FrameReader, frame
from btlib.pairing._frames import SIZES
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(FrameKind))
    low, high = SIZES[kind]
    return Frame(kind=kind, body=draw(st.binary(min_size=low, max_size=min(high, low + 300))))


def read_all(reader: FrameReader) -> list[Frame]:
    found = []
    while (one := reader.next_frame()) is not None:
        found.append(one)
    return found


@given(st.lists(frames(), max_size=5), st.integers(1, 40))
def test_frames_are_read_however_they_are_cut(sent: list[Frame], piece: int) -> None:
    data = b"".join(frame(one.kind, one.body) for one in sent)
    reader, found = FrameReader(), []
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
        found += read_all(reader)
    assert found == sent
    assert reader.next_frame() is None


@pytest.mark.parametrize("kind", FrameKind)
def test_a_frame_is_refused_by_its_head(kind: FrameKind) -> None:
    low, high = SIZES[kind]
    for size in {low - 1, high + 1, 2**32 - 1} - {-1}:
        reader = FrameReader()
        reader.feed(bytes([kind]) + size.to_bytes(4))
        with pytest.raises(PairingError, match=f"{kind.name} has"):
            reader.next_frame()


@pytest.mark.parametrize("kind", [*sorted({*range(256)} - {*FrameKind})[:20], 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    reader = FrameReader()
    reader.feed(bytes([kind]) + bytes(4))
    with pytest.raises(PairingError, match="no message of an enrolment"):
        reader.next_frame()


@pytest.mark.parametrize("kind", FrameKind)
def test_what_no_reader_takes_is_not_sent(kind: FrameKind) -> None:
    with pytest.raises(PairingError, match="cannot be sent"):
        frame(kind, bytes(SIZES[kind][1] + 1))


@given(st.binary(max_size=400))
def test_any_bytes_are_frames_an_error_or_a_beginning(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    try:
        found = read_all(reader)
    except PairingError:
        return
    assert data.startswith(b"".join(frame(one.kind, one.body) for one in found))
