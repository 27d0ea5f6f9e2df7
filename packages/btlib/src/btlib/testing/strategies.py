"""Hypothesis strategies for the values of btlib. Keys come from a small pool: making them is slow, and few suffice."""

from __future__ import annotations

from hypothesis import strategies as st

from ..errors import PathError
from ..paths import BlockPath, check_name
from ..principals import Principal
from ..public_keys import Suite
from ..writecaps import Chain, Rights, issue_writecap
from ._identities import make_keys

_POOL = {(name, suite): make_keys(name, suite) for name in ("a", "b", "c", "d") for suite in Suite}


def _is_name(text: str) -> bool:
    try:
        check_name(text)
    except PathError:
        return False
    return True


def names() -> st.SearchStrategy[str]:
    """Names of files, short ones mostly."""
    return st.text(min_size=1, max_size=60).filter(_is_name)


def principals() -> st.SearchStrategy[Principal]:
    """Any 32 bytes."""
    return st.binary(min_size=32, max_size=32).map(Principal)


def block_paths(root: st.SearchStrategy[Principal] | None = None, max_names: int = 6) -> st.SearchStrategy[BlockPath]:
    """Paths below any root, or below the given ones."""
    return st.builds(BlockPath, root or principals(), st.lists(names(), max_size=max_names).map(tuple))


def key_names() -> st.SearchStrategy[tuple[str, Suite]]:
    """Names and suites for `make_keys`."""
    return st.sampled_from(sorted(_POOL, key=str))


@st.composite
def chains(draw: st.DrawFn, min_caps: int = 0, max_caps: int = 4) -> Chain:
    """Genuine chains, each narrowing as it goes. All may delegate, the last one perhaps not."""
    holder = _POOL[draw(key_names())]
    chain = Chain()
    path = BlockPath(holder.public.principal)
    rights = [Rights.WRITE | Rights.EXECUTE]
    begins, ends = 0, 2**40
    count = draw(st.integers(min_caps, max_caps))
    for number in range(count):
        subject = _POOL[draw(key_names())]
        path = draw(st.just(path) | names().map(path.child))
        rights.append(draw(st.sampled_from([right for right in _choices() if right & rights[-1] == right])))
        begins = draw(st.integers(begins, begins + 1000))
        ends = draw(st.integers(ends - 1000, ends))
        chain = issue_writecap(
            holder,
            chain,
            subject=subject.public.principal,
            path=path,
            scope=draw(st.binary(min_size=16, max_size=16)),
            rights=rights[-1],
            not_before=begins,
            not_after=ends,
            may_delegate=number < count - 1 or draw(st.booleans()),
            serial=draw(st.binary(min_size=16, max_size=16)),
        )
        holder = subject
    return chain


def _choices() -> list[Rights]:
    return [Rights.WRITE, Rights.EXECUTE, Rights.WRITE | Rights.EXECUTE]
