from __future__ import annotations

import errno

import pytest
from btfuse._errno import ERRNO, QUIET, errno_of
from btlib.kinds import Kind


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_an_errno(kind: Kind) -> None:
    assert kind in ERRNO
    assert errno.errorcode[errno_of(kind)]


def test_damage_is_never_quiet() -> None:
    assert not QUIET & {Kind.INTEGRITY, Kind.ROLLBACK, Kind.INTERNAL, Kind.IO, Kind.FENCED, Kind.UNREACHABLE}
