"""The command line: what ends a run is a sentence and a code."""

from __future__ import annotations

import pytest
from btfsd import _cli
from btfsd._cli import run


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("btfsd 0.")


def test_help_names_the_options_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for word in ("--config", "--listen", "--log-json", "config"):
        assert word in shown


def test_an_unknown_option_is_a_matter_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--listn", "x"]) == 2
    assert "--listn" in capsys.readouterr().err


def test_a_defect_is_said_to_be_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.delenv("BLOCKTREE_DEBUG", raising=False)
    monkeypatch.setattr(_cli, "load_configuration", fail)
    assert run(["config", "show"]) == 1
    assert "a defect in btfsd: ZeroDivisionError" in capsys.readouterr().err
    monkeypatch.setenv("BLOCKTREE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["config", "show"])
