"""A tap on the links of a process, over real sockets."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import bttp.blocking
import pytest
from btlib.paths import BlockPath
from bttp import BttpError, RemoteError, Router
from bttp.capture import CaptureLines, CaptureReader, What
from bttp.tapping import TapFile, tap_from_environment, tapped
from bttp.testing._evil import DOMAIN, ECHO, ROOT


def call(body: bytes, path: BlockPath = ECHO) -> None:
    """One call over one link, whose client proves itself once more."""
    router = Router()
    router.add(ECHO, lambda request: request.body)
    with (
        bttp.blocking.serve(["127.0.0.1:0"], DOMAIN["server"], router, roots=[ROOT]) as server,
        bttp.blocking.connect(server.endpoints[0], DOMAIN["alice"], root=ROOT) as link,
    ):
        link.prove(DOMAIN["alice"])
        link.call(path, body, timeout=30.0)


def lines_of(file: Path) -> list[str]:
    shown = CaptureLines()
    return [shown.line(record).partition("  ")[2] for record in CaptureReader().feed(file.read_bytes())]


def test_the_frames_of_both_ends_are_written_down_and_no_body(tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    with tapped(file):
        call(b"a secret body" * 3)
    said = lines_of(file)
    assert any("> CALL 1: route 1" in line and "/echo" in line and "39 bytes" in line for line in said)
    assert any("< CALL 1: route 1" in line for line in said)
    assert any("> REPLY 1: 39 bytes" in line for line in said)
    assert sum("- open, to " in line for line in said) == 2
    assert any("- closed: in good order" in line for line in said)
    assert b"secret body" not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600


def test_bodies_are_written_down_only_where_that_is_asked_for_and_proofs_never(tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    with tapped(file, bodies=True):
        call(b"a secret body")
    records = CaptureReader().feed(file.read_bytes())
    assert b"a secret body" in {record.body for record in records}
    auths = [record for record in records if record.what is not What.REMARK and record.name == "AUTH"]
    assert {record.what for record in auths} == {What.SENT, What.RECEIVED}
    assert {record.kept for record in auths} == {b""}
    assert DOMAIN["alice"].principal.digest not in file.read_bytes()


def test_after_the_tap_nothing_more_is_written(tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    with tapped(file):
        call(b"first")
    size = file.stat().st_size
    call(b"second")
    assert file.stat().st_size == size


def test_a_second_tap_goes_on_in_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    for _ in range(2):
        with tapped(file):
            call(b"body")
    assert sum("- open, to " in line for line in lines_of(file)) == 4


def test_a_full_tap_ends_and_the_link_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from bttp._shell_base import observe_links

    file = tmp_path / "frames.tap"
    tap = TapFile(file, limit=100)
    forget = observe_links(tap.observe)
    call(b"body")
    forget()
    tap.close()
    assert file.stat().st_size <= 100
    assert "the tap into" in caplog.text


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    file.touch(0o644)
    file.chmod(0o644)
    with pytest.raises(BttpError, match="nobody else may read") as caught:
        TapFile(file)
    assert "chmod 600" in (caught.value.hint or "")


@pytest.mark.parametrize("make", [lambda place: place.mkdir(), lambda place: place.symlink_to("/dev/null")])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, make: object) -> None:
    file = tmp_path / "frames.tap"
    make(file)  # type: ignore[operator]
    with pytest.raises(BttpError, match=r"frames\.tap"):
        TapFile(file)


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    os.mkfifo(file, 0o600)
    with pytest.raises(BttpError, match=r"frames\.tap"):
        TapFile(file)


def test_the_environment_says_where_to(tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    tap_from_environment({})()
    end = tap_from_environment({"BLOCKTREE_TAP": str(file), "BLOCKTREE_TAP_BODIES": "1"})
    gc.collect()  # it lasts until it is ended, and not only as long as somebody holds something
    call(b"in the environment")
    end()
    assert b"in the environment" in file.read_bytes()


def test_a_failed_call_is_seen_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    with tapped(file), pytest.raises(RemoteError):
        call(b"", DOMAIN.path.child("nobody"))
    assert any("ERROR 1: NO_SUCH_TARGET" in line for line in lines_of(file))
