"""Entry point of the daemon."""


def main() -> None:
    raise SystemExit("bt: not built yet")
