"""`bt net`, with a real btfsd: what resolves and why not, servers that moved, and frames that an end wrote down."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from blocktree.commands import net
from blocktree.session import now
from btfproto.endpoints import SignedRecord, read_record
from bttp.capture import MAGIC
from bttp.tapping import TapFile

from .conftest import COMMAND_SECONDS, Machine
from .serving import enrol, free_port, running_server, with_an_apple


def endpoint(number: int) -> str:
    return f"127.0.0.1:{number}"


def resolved(machine: Machine, path: str, *options: str, code: int = 0) -> Any:
    return machine("net", "resolve", path, "--json", *options, code=code).document


def test_what_resolves_through_which_record_and_until_when(served: Machine, port: int) -> None:
    done = served("net", "resolve", "home:/hosts/nas/btfsd/fs")
    lines = [line.split(None, 1) for line in done.out.splitlines()[1:]]
    shown = {words[0]: words[1] for words in lines}
    assert done.out.splitlines()[0] == "home:/hosts/nas/btfsd/fs"
    assert shown["record"] == "home:/hosts/nas/btfsd, in the tree"
    assert shown["server"] == "home:/hosts/nas/btfsd"
    assert shown["endpoint"] == endpoint(port)
    assert shown["issued"] < shown["until"]
    (found,) = resolved(served, "home:/photos")["found"]
    assert found["path"].count("/") == 1
    assert found["server"].endswith("/hosts/nas/btfsd")


def test_without_the_tree_it_says_what_is_remembered(served: Machine, laptop: Machine, port: int) -> None:
    enrol(served, laptop, port)
    laptop("net", "resolve", "home:")
    remembered = resolved(laptop, "home:", "--offline")
    assert remembered["endpoints"] == [endpoint(port)]
    assert remembered["configured"] == endpoint(port)
    (found,) = remembered["found"]
    assert found["source"] == "remembered here"


def test_a_tree_that_cannot_be_asked_is_a_remark(nas: Machine, laptop: Machine, port: int) -> None:
    enrol(nas, laptop, port)
    done = laptop("net", "resolve", "home:")
    assert "could not be asked" in done.err
    assert f"configured  {endpoint(port)}" in done.out
    assert resolved(laptop, "home:")["error"] is not None


def test_where_nothing_is_known_it_fails_and_says_what_to_do(nas: Machine) -> None:
    done = nas("net", "resolve", "home:", "--offline", code=1)
    assert "no endpoint record is known" in done.err
    assert "writes one when it starts" in done.err


def test_an_expired_record_is_named_with_its_reason(
    served: Machine, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    served("net", "resolve", "home:")
    later = now() + 8 * 86_400
    monkeypatch.setattr(net, "now", lambda: later)
    refused = served("net", "resolve", "home:", "--offline", code=5)
    assert "refused     home:/: the endpoint record of" in refused.out
    assert "expired 24 hours ago" in refused.out


def test_a_record_that_went_back_in_time_is_named(served: Machine, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that shows an older record than one seen before: here, what is read from it is older."""
    served("net", "resolve", "home:")
    from btfproto.endpoints import sign_record
    from btlib.home import Home

    domain = Home.find(served.environment()).domain("home")
    identity = domain.credentials.unlock(served.environment()["BLOCKTREE_PASSPHRASE"])

    def older(reader: object, target: object) -> dict[object, tuple[SignedRecord, ...]]:
        signed = sign_record(
            identity,
            path=domain.root_path,
            server=domain.server_path,
            endpoints=["old.example:1"],
            now=now() - 60,
            lifetime=3600,
        )
        assert read_record(signed).endpoints == ("old.example:1",)
        return {domain.root_path: (signed,)}

    monkeypatch.setattr(net, "read_published", older)
    done = served("net", "resolve", "home:")
    assert "older than one seen before" in done.out
    assert f"endpoint    {endpoint(port)}" in done.out
    assert "old.example" not in done.out


def test_the_local_network_is_asked_where_that_is_wanted(served: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "discover", lambda root: ("192.0.2.7:1",))
    assert "heard       192.0.2.7:1, which anybody may say" in served("net", "resolve", "home:", "--mdns").out
    assert resolved(served, "home:", "--mdns")["heard"] == ["192.0.2.7:1"]


def test_commands_find_a_server_that_moved(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    with_an_apple(nas, tmp_path, "home:/notes")
    before, after = free_port(), free_port()
    with running_server(nas, before, tmp_path / "1.log"):
        enrol(nas, laptop, before)
        nas("grant", "laptop", "home:/notes", "read")
        laptop("ls", "home:/notes")
    settings = laptop.directory / "domain.toml"
    configured = settings.read_text()
    assert endpoint(before) in configured
    with running_server(nas, after, tmp_path / "2.log"):
        # Somebody on the laptop reaches the server once by its new address, and from then on everybody there does.
        settings.write_text(configured.replace(endpoint(before), endpoint(after)))
        laptop("ls", "home:/notes")
        settings.write_text(configured)
        assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
        without = [line for line in configured.splitlines() if not line.startswith("server")]
        settings.write_text("\n".join(without) + "\n")
        assert laptop("cat", "home:/notes/apple.txt").out == "an apple"
        done = laptop("ps", "home:/hosts/nas/btfsd", code=5)
        assert "no server" not in done.err
    done = laptop("cat", "home:/notes/apple.txt", code=4)
    assert endpoint(after) in done.err


@pytest.mark.mount
def test_a_mount_finds_a_server_that_moved(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    with_an_apple(nas, tmp_path, "home:/notes")
    number, dead = free_port(), free_port()
    with running_server(nas, number, tmp_path / "1.log"):
        enrol(nas, laptop, number)
        nas("grant", "laptop", "home:/notes", "read")
        laptop("ls", "home:/notes")
        settings = laptop.directory / "domain.toml"
        settings.write_text(settings.read_text().replace(endpoint(number), endpoint(dead)))
        place = tmp_path / "tree"
        place.mkdir()
        laptop("mount", "--server", "home:/notes", place)
        try:
            assert (place / "apple.txt").read_text() == "an apple"
        finally:
            laptop("umount", place)


# --- frames


def test_the_frames_of_a_server_and_of_a_command_are_shown(nas: Machine, laptop: Machine, tmp_path: Path) -> None:
    with_an_apple(nas, tmp_path, "home:/notes")
    number, server_tap, client_tap = free_port(), tmp_path / "server.tap", tmp_path / "client.tap"
    with running_server(tapped_by(nas, server_tap), number, tmp_path / "1.log"):
        enrol(nas, laptop, number)
        nas("grant", "laptop", "home:/notes", "read")
        laptop("cat", "home:/notes/apple.txt", BLOCKTREE_TAP=str(client_tap))
    for file in (server_tap, client_tap):
        assert file.stat().st_mode & 0o777 == 0o600
        done = nas("net", "tap", file)
        assert "CALL" in done.out
        assert "/hosts/nas/btfsd/store" in done.out
        assert "closed: in good order" in done.out
        assert "an apple" not in done.out
    (frame,) = frames_of(nas, client_tap, "--count", "1")
    assert {"time", "process", "link", "what", "text"} <= frame.keys()


def test_a_link_that_is_not_in_a_capture_is_refused_with_those_that_are(nas: Machine, tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    for number in (3, 7):
        tap = TapFile(file)
        tap._remark(number, "open")
        tap.close()
    assert len(frames_of(nas, file, "--link", "7")) == 1
    for options in ([], ["--json"]):
        refused = nas("net", "tap", file, "--link", "5", *options, code=1)
        assert "no frame of link 5" in refused.err
        assert "these are there: 3, 7" in refused.err
    file.write_bytes(MAGIC)
    assert "no frame is there yet" in nas("net", "tap", file, "--link", "5", code=1).err


def frames_of(machine: Machine, file: Path, *options: str) -> Any:
    return machine("net", "tap", file, "--json", *options).document["frames"]


def tapped_by(machine: Machine, file: Path) -> Machine:
    """The same machine, whose programs write their frames down."""

    class Tapped(Machine):
        def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
            return super().environment({**(more or {}), "BLOCKTREE_TAP": str(file)})

    return Tapped(machine.home, machine.call)


def test_bodies_are_shown_where_they_were_captured_and_wanted(
    served: Machine, laptop: Machine, port: int, tmp_path: Path
) -> None:
    enrol(served, laptop, port)
    file = tmp_path / "frames.tap"
    laptop("net", "resolve", "home:", BLOCKTREE_TAP=str(file), BLOCKTREE_TAP_BODIES="1")
    plain = served("net", "tap", file).out
    shown = served("net", "tap", file, "--payloads").out
    assert len(shown.splitlines()) > len(plain.splitlines())
    frames = frames_of(served, file, "--payloads")
    assert any(bytes.fromhex(str(frame.get("body", ""))) for frame in frames)


def test_no_proof_of_identity_is_in_a_capture(served: Machine, laptop: Machine, port: int, tmp_path: Path) -> None:
    from btlib.home import Home

    enrol(served, laptop, port)
    file = tmp_path / "frames.tap"
    laptop("ls", "home:/notes", code=5, BLOCKTREE_TAP=str(file), BLOCKTREE_TAP_BODIES="1")
    frames = frames_of(served, file, "--payloads")
    auths = [frame for frame in frames if frame.get("frame") == "AUTH"]
    assert auths
    assert all(frame["body"] == "" for frame in auths)
    credentials = Home.find(laptop.environment()).domain("home").credentials
    identity = credentials.unlock(laptop.environment()["BLOCKTREE_PASSPHRASE"])
    assert identity.chains[0].caps[-1].signature not in file.read_bytes()


def test_a_growing_capture_is_followed(served: Machine, laptop: Machine, port: int, tmp_path: Path) -> None:
    enrol(served, laptop, port)
    file = tmp_path / "frames.tap"
    laptop("net", "resolve", "home:", BLOCKTREE_TAP=str(file))
    before = len(served("net", "tap", file).out.splitlines())
    words = [sys.executable, "-m", "blocktree", "net", "tap", str(file), "--follow", "--count", str(before + 5)]
    with subprocess.Popen(words, env=served.environment(), stdout=subprocess.PIPE, text=True) as follower:
        laptop("net", "resolve", "home:", BLOCKTREE_TAP=str(file))
        out, _ = follower.communicate(timeout=COMMAND_SECONDS)
    assert len(out.splitlines()) == before + 5
    assert follower.returncode == 0


def test_ctrl_c_ends_following(nas: Machine, tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    nas("status", BLOCKTREE_TAP=str(file))
    words = [sys.executable, "-m", "blocktree", "net", "tap", str(file), "--follow"]
    with subprocess.Popen(
        words, env={**nas.environment(), "PYTHONUNBUFFERED": "1"}, stderr=subprocess.PIPE
    ) as follower:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(COMMAND_SECONDS) in (130, -signal.SIGINT)


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(b"junk, and no capture", 1, "no capture"), (None, 1, "No such file")],
    ids=["junk", "missing"],
)
def test_what_is_no_capture_is_refused(
    nas: Machine, tmp_path: Path, content: bytes | None, code: int, said: str
) -> None:
    file = tmp_path / "frames.tap"
    if content is not None:
        file.write_bytes(content)
    done = nas("net", "tap", file, code=code)
    assert said in done.err
    assert "Traceback" not in done.err


def test_following_as_one_document_needs_an_end(nas: Machine, tmp_path: Path) -> None:
    assert "--count" in nas("net", "tap", tmp_path / "x", "--follow", "--json", code=2).err


def test_a_tap_file_that_others_may_read_is_refused(nas: Machine, tmp_path: Path) -> None:
    file = tmp_path / "frames.tap"
    file.touch()
    file.chmod(0o644)
    assert "chmod 600" in nas("status", code=5, BLOCKTREE_TAP=str(file)).err


def test_the_help_says_how_a_capture_is_made(nas: Machine) -> None:
    assert "BLOCKTREE_TAP" in nas("net", "tap", "--help").out
    assert "longest prefix" in nas("net", "resolve", "--help").out
