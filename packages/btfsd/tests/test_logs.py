"""Log lines."""

from __future__ import annotations

import json
import logging

from btfsd._logs import JsonFormatter, TextFormatter


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "btfsd", "levelno": logging.INFO, "levelname": "INFO", "msg": message})
    made.created = 1_800_000_000.25
    made.__dict__.update(extra)
    return made


def test_a_text_line_has_time_level_logger_and_message() -> None:
    assert TextFormatter().format(record("started")) == "2027-01-15T08:00:00.250Z info btfsd: started"


def test_in_the_journal_a_line_has_a_priority_and_no_time() -> None:
    assert TextFormatter(journal=True).format(record("started")) == "<6>btfsd: started"


def test_what_a_peer_says_cannot_forge_a_line() -> None:
    line = TextFormatter().format(record("refused bob\n2027-01-15T08:00:00Z info btfsd: all is well\x1b[2J"))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_a_json_line_is_one_object_with_the_fields_of_the_event() -> None:
    line = JsonFormatter().format(record("started\nhere", fields={"event": "started", "pid": 7}))
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "info",
        "logger": "btfsd",
        "message": "started\nhere",
        "event": "started",
        "pid": 7,
    }
    assert len(line.splitlines()) == 1


def test_a_traceback_stays_in_its_object() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        failed = record("failed", exc_info=(type(error), error, error.__traceback__))
    assert "ValueError: broken" in json.loads(JsonFormatter().format(failed))["traceback"]
    assert all(line.startswith("<6>") for line in TextFormatter(journal=True).format(failed).splitlines())
