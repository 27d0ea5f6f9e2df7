"""Entry point of the daemon."""


def main() -> None:
    raise SystemExit("btfuse: not built yet")
