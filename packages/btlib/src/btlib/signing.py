"""Who signs and who opens seals: two small interfaces, so that keys may lie in memory, in a file or in a chip.

Both are thread-safe. Neither ever gives its key away.
"""

from __future__ import annotations

from typing import Protocol

from .labels import Label
from .public_keys import PublicKeys


class Signer(Protocol):
    """Signs as one principal."""

    @property
    def public(self) -> PublicKeys:
        """The key set that verifies what this signs."""
        ...

    def sign(self, label: Label, message: bytes) -> bytes:
        """The signature of `label ‖ message`, of the suite's fixed size. Raises CredentialError if the key is gone."""
        ...


class Opener(Protocol):
    """Opens what was sealed for one principal."""

    @property
    def public(self) -> PublicKeys:
        """The key set to seal to."""
        ...

    def open(self, label: Label, info: bytes, sealed: bytes) -> bytes:
        """The plaintext that `public.seal(label, info, …)` was given. Raises SealError, which does not say which
        of key, label, info and bytes was wrong: it cannot know."""
        ...
