"""One target under atheris, in its own process: `python -m tests.fuzz.one TARGET [OPTION or CORPUS]…` of libFuzzer.

Instruments the packages at import, and the decoders that btserde generates, which are imported from nowhere. Ends with
an exit code that is not 0 at the first finding, whose input libFuzzer leaves in a file.
"""

from __future__ import annotations

import gc
import sys
import types

import atheris  # type: ignore[import-untyped]

PACKAGES = ["btserde", "btlib", "bttp", "btrun", "btfproto", "btfsd", "btfuse", "blocktree"]
GENERATED = "<btserde"  #: how the file names of generated code begin


def main() -> None:
    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.targets import TARGETS
    for function in gc.get_objects():
        if isinstance(function, types.FunctionType) and function.__code__.co_filename.startswith(GENERATED):
            atheris.instrument_func(function)
    target = TARGETS[sys.argv[1]]

    def attack(data: bytes) -> None:
        target.accepts(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], attack)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
