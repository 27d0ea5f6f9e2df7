"""Entry point of the daemon: `btfuse`, `python -m btfuse`, and `mount.fuse.btfuse`."""

from __future__ import annotations

from ._cli import main as _main


def main() -> None:
    raise SystemExit(_main())


if __name__ == "__main__":
    main()
