"""Targets of files and words that people write, and of the kernel's tables."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from blocktree import enrolment
from blocktree.dates import parse_since, parse_until
from blocktree.mounts import parse_mounts as parse_own_mounts
from btfproto.store._lock import _read_holder
from btfsd._configuration import load_configuration
from btfuse._mountpoint import parse_mounts
from btfuse._options import parse_options
from btlib.errors import BlocktreeError
from btlib.home._passphrase import read_passphrase_file
from btlib.home._settings import read_settings, write_settings

from .target import target

NOW = 1_800_000_000


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


@target("domain-file", "domain.toml", refuses=BlocktreeError)
def domain_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "domain.toml"
        file.write_bytes(data)
        settings = read_settings(file)
        write_settings(file, settings)
        assert read_settings(file) == settings


@target("server-file", "btfsd.toml", refuses=BlocktreeError)
def server_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "btfsd.toml"
        file.write_bytes(data)
        load_configuration(file, {})


@target("server-environment", "settings of btfsd in the environment", refuses=BlocktreeError)
def server_environment(data: bytes) -> None:
    lines = [line.partition("=") for line in _text(data).replace("\0", "").split("\n")]
    load_configuration(Path(os.devnull), {f"BTFSD_{name}": value for name, _, value in lines if name != "CONFIG"})


@target("passphrase-file", "passphrase files", refuses=BlocktreeError)
def passphrase_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "passphrase"
        file.touch(mode=0o600)
        file.write_bytes(data)
        assert read_passphrase_file(file)


@target("enroll-request", "requests to join a domain", refuses=BlocktreeError)
def enroll_request(data: bytes) -> None:
    enrolment.read_request(_text(data))


@target("enroll-response", "answers to them", refuses=BlocktreeError)
def enroll_response(data: bytes) -> None:
    enrolment.read_response(_text(data), NOW)


@target("dates", "dates and times in commands", refuses=BlocktreeError)
def dates(data: bytes) -> None:
    parse_since(_text(data), NOW)
    parse_until(_text(data), NOW)


@target("mount-options", "options of mounts", refuses=BlocktreeError)
def mount_options(data: bytes) -> None:
    parse_options([_text(data)])


@target("mount-tables", "the kernel's tables of mounts", refuses=())
def mount_tables(data: bytes) -> None:
    parse_mounts(_text(data))
    list(parse_own_mounts(_text(data)))


@target("lock-file", "who holds a store", refuses=())
def lock_file(data: bytes) -> None:
    fd = os.memfd_create("lock")
    try:
        os.pwrite(fd, data, 0)
        assert _read_holder(fd).pid is not None
    finally:
        os.close(fd)
