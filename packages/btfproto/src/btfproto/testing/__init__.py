"""Test kits: what every implementation of an interface must do, for whoever writes another one.

`btfproto.testing.store` checks a `Store`, `btfproto.testing.provider` an `FsProvider`, and `btfproto.testing.domains`
makes small domains. They need pytest and hypothesis (`pip install btfproto[testing]`).
"""

from .store import STORE_CHECKS, StoreCheck, check_store

__all__ = ["STORE_CHECKS", "StoreCheck", "check_store"]
