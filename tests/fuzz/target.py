"""`Target`: one parser under attack. Its function takes any bytes and returns, or refuses with one of its errors.

    @target("chain", "chains of writecaps", refuses=CapabilityError)
    def chain(data: bytes) -> None:
        assert encode(Chain.decode(data)) == data

Everything else that comes out of it is a finding: another exception, an assertion (what was accepted has a second
form, or contradicts itself), a hang. A target keeps no state from one input to the next, so that a file reproduces it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Run = Callable[[bytes], None]

#: Bytes of the longest input that the fuzzer makes: formats with larger limits are the same beyond.
MAX_INPUT = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Target:
    """One parser."""

    name: str
    parses: str
    run: Run
    refuses: tuple[type[Exception], ...]

    def accepts(self, data: bytes) -> bool:
        """Whether these bytes were taken; False: refused as they should be. A finding leaves as its exception."""
        try:
            self.run(data)
        except self.refuses:
            return False
        return True


TARGETS: dict[str, Target] = {}  #: filled by `target`, in order of definition; `targets` imports them all


def target(name: str, parses: str, *, refuses: type[Exception] | tuple[type[Exception], ...]) -> Callable[[Run], Run]:
    """Enter a function into TARGETS."""

    def enter(run: Run) -> Run:
        assert name not in TARGETS, name
        classes = refuses if isinstance(refuses, tuple) else (refuses,)
        TARGETS[name] = Target(name=name, parses=parses, run=run, refuses=classes)
        return run

    return enter
