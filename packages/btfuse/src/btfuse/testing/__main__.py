"""Mount a `MemoryProvider` in the foreground, and say `ready`: `MOUNTPOINT [SETTING[=VALUE]…]`.

Settings: `binding=NAME`, `shared`, `locks`, `symlinks=POLICY`, `threads=COUNT`,
`subtype=NAME`.
"""

from __future__ import annotations

import logging
import sys

from .._binding import load_binding
from .._context import Settings, Symlinks
from .._mount import run_mount
from ._memory_provider import MemoryProvider

_OPTIONS = ("fsname=memory", "default_permissions", "allow_other", "nosuid", "nodev")


def main(mountpoint: str, *words: str) -> None:
    given = dict(word.partition("=")[::2] for word in words)
    settings = Settings(
        mountpoint=mountpoint,
        shared="shared" in given,
        remote_locks="locks" in given,
        symlinks=Symlinks(given.get("symlinks", "contained")),
    )
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    run_mount(
        MemoryProvider(),
        load_binding(given.get("binding", "auto")),
        settings,
        [*_OPTIONS, f"subtype={given.get('subtype', 'btfuse')}"],
        threads=int(given.get("threads", "1")),
        ready=lambda: print("ready", flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
