from __future__ import annotations

from pathlib import Path

import pytest
from btfuse._arguments import parse_arguments
from btfuse._errors import FuseError


def test_a_user_names_source_and_mount_point() -> None:
    asked = parse_arguments("/usr/bin/btfuse", ["home:/photos", "/mnt", "-f", "-o", "ro", "-o", "allow_other"])
    assert (asked.source, asked.mountpoint, asked.foreground) == ("home:/photos", "/mnt", True)
    assert asked.options.read_only
    assert asked.options.allow_other


def test_options_may_come_first() -> None:
    asked = parse_arguments("btfuse", ["-o", "ro", "--server", "--thin", "home:/", "/mnt"])
    assert asked.options.server
    assert asked.options.thin
    assert asked.source == "home:/"


def test_a_passphrase_file_is_meant_from_where_the_command_runs() -> None:
    asked = parse_arguments("btfuse", ["--passphrase-file", "pass", "home:/", "/mnt"])
    assert asked.options.passphrase_file == Path.cwd() / "pass"


def test_mount_calls_its_helper_in_its_own_way() -> None:
    asked = parse_arguments(
        "/sbin/mount.fuse.btfuse", ["home:/", "/mnt", "-sfnv", "-o", "rw,dev,suid,noauto", "-t", "x"]
    )
    assert (asked.source, asked.mountpoint, asked.foreground, asked.fake) == ("home:/", "/mnt", False, True)


def test_a_helpers_f_is_not_foreground() -> None:
    assert not parse_arguments("mount.fuse3.btfuse", ["home:/", "/mnt", "-o", "rw"]).fake


def test_unmounting_takes_a_mount_point_alone() -> None:
    asked = parse_arguments("btfuse", ["-u", "/mnt"])
    assert asked.unmount
    assert asked.mountpoint == "/mnt"
    with pytest.raises(SystemExit) as caught:
        parse_arguments("btfuse", ["-u", "home:/", "/mnt"])
    assert caught.value.code == 2


@pytest.mark.parametrize("words", [[], ["home:/"], ["--surprise", "home:/", "/mnt"], ["a", "b", "c"]])
def test_a_wrong_command_line_ends_with_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments("btfuse", words)
    assert caught.value.code == 2
    assert "btfuse" in capsys.readouterr().err


def test_an_unknown_mount_option_is_a_typed_error() -> None:
    with pytest.raises(FuseError, match="surprise"):
        parse_arguments("btfuse", ["home:/", "/mnt", "-o", "surprise"])


def test_help_names_options_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments("btfuse", ["--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "symlinks=" in said
    assert "exit codes" in said
