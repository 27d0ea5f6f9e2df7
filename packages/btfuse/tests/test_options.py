from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from btfproto.opening import FOR_EVER, Staleness
from btfuse._context import Symlinks
from btfuse._errors import FuseError
from btfuse._options import MountOptions, parse_options, split_options
from btlib.kinds import Kind
from hypothesis import given
from hypothesis import strategies as st


def test_no_options_are_the_defaults() -> None:
    assert parse_options([]) == MountOptions()


def test_what_mount_adds_for_fstab_is_passed_over() -> None:
    text = "rw,dev,suid,exec,noauto,user,_netdev,nofail,x-systemd.automount,x-gvfs-show,comment=mine,relatime"
    assert parse_options([text]) == MountOptions()


def test_ours_are_read() -> None:
    options = parse_options(["server=nas:1234,thin,allow_other", "symlinks=as-written,threads=3,commit=0.5,ro,noexec"])
    assert options.server
    assert options.thin
    assert options.endpoint == "nas:1234"
    assert options.allow_other
    assert options.symlinks is Symlinks.AS_WRITTEN
    assert (options.threads, options.commit_seconds, options.kernel) == (3, 0.5, ("ro", "noexec"))
    assert options.read_only


def test_how_long_to_wait_for_a_server() -> None:
    assert parse_options(["server"]).patience is None
    assert parse_options(["server,soft=2.5"]).patience == 2.5
    assert parse_options(["server,soft=2.5,hard"]).patience == FOR_EVER


def test_a_later_option_wins() -> None:
    assert parse_options(["binding=fusepy", "binding=mfusepy"]).binding == "mfusepy"


def test_files_are_named_absolutely() -> None:
    assert parse_options(["home=/srv/bt,passphrase_file=/etc/bt.pass"]).home == Path("/srv/bt")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("surprise", "surprise"),
        ("surprise=1", "surprise"),
        ("binding=fuse4", "fuse4"),
        ("binding", "needs a value"),
        ("binding=", "needs a value"),
        ("symlinks=never", "never"),
        ("threads=0", "threads"),
        ("threads=65", "threads"),
        ("threads=²", "threads"),
        ("commit=soon", "commit"),
        ("commit=nan", "commit"),
        ("soft=0", "soft"),
        ("soft=inf", "soft"),
        ("soft", "needs a value"),
        ("stale_warn=2", "stale_warn"),
        ("stale_refuse=-1d", "stale_refuse"),
        ("hard=1", "hard"),
        ("home=relative", "absolute"),
        ("thin", "server"),
        ("allow_other=1", "allow_other"),
    ],
)
def test_what_is_unknown_or_no_value_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(FuseError, match=named) as caught:
        parse_options([text])
    assert caught.value.kind is Kind.INVALID
    assert caught.value.hint


def test_how_old_what_is_known_of_revocations_may_be_is_settable() -> None:
    options = parse_options(["server,thin,stale_warn=12h,stale_refuse=7d"])
    assert options.staleness == Staleness(warn=43_200.0, refuse=604_800.0)
    assert parse_options(["stale_refuse=90m"]).staleness == Staleness(refuse=5400.0)


@given(st.lists(st.text(min_size=1)))
def test_escaped_options_are_split_as_they_were(words: list[str]) -> None:
    text = ",".join(word.replace("\\", "\\\\").replace(",", "\\,") for word in words)
    assert split_options(text) == words


@given(st.text())
def test_any_text_is_options_or_a_typed_refusal(text: str) -> None:
    with contextlib.suppress(FuseError):
        parse_options([text])


def test_the_kernel_always_gets_nosuid_and_nodev() -> None:
    for text in ("suid,dev", "", "ro"):
        options = parse_options([text]).for_kernel("home:/", major=3, uid=1000)
        assert {"nosuid", "nodev", "default_permissions"} <= set(options)
        assert not {"suid", "dev"} & set(options)


@pytest.mark.parametrize(
    ("text", "uid", "judged"),
    [("", 0, False), ("", 1000, True), ("allow_other", 0, True), ("default_permissions", 0, True), ("ro", 0, False)],
)
def test_the_kernel_judges_permissions_unless_root_alone_may_enter(text: str, uid: int, judged: bool) -> None:
    options = parse_options([text]).for_kernel("home:/", major=3, uid=uid)
    assert ("default_permissions" in options) is judged


def test_a_comma_in_the_source_is_escaped_for_the_kernel() -> None:
    assert "fsname=home:/a\\,b" in MountOptions().for_kernel("home:/a,b", major=3, uid=1000)


def test_only_libfuse_2_is_told_of_nonempty() -> None:
    options = MountOptions(nonempty=True)
    assert "nonempty" in options.for_kernel("x", major=2, uid=1000)
    assert "nonempty" not in options.for_kernel("x", major=3, uid=1000)
