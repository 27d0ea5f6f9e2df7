"""Entry point of the daemon."""


def main() -> None:
    raise SystemExit("btfsd: not built yet")
