"""What every signer and opener must do, wherever its keys lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..errors import SealError, SignatureError
from ..labels import Label
from ..signing import Opener, Signer


def check_signer(signer: Signer) -> None:
    """Raise AssertionError unless the signer's signatures are those of its public keys, one form each."""
    for message in (b"", b"message", bytes(100_000)):
        signature = signer.sign(Label.COMMIT, message)
        signer.public.verify(Label.COMMIT, message, signature)
        _expect(SignatureError, partial(signer.public.verify, Label.WRITECAP, message, signature))
        _expect(SignatureError, partial(signer.public.verify, Label.COMMIT, message + b"\0", signature))
    sizes = {len(signer.sign(Label.COMMIT, number.to_bytes(2))) for number in range(20)}
    assert len(sizes) == 1, f"signatures of sizes {sizes}"


def check_opener(opener: Opener) -> None:
    """Raise AssertionError unless the opener opens what is sealed for its public keys, and nothing else."""
    for plain in (b"", b"message", bytes(100_000)):
        sealed = opener.public.seal(Label.READCAP, b"info", plain)
        assert opener.open(Label.READCAP, b"info", sealed) == plain
    for label, info, text in (
        (Label.COMMIT, b"info", sealed),
        (Label.READCAP, b"", sealed),
        (Label.READCAP, b"info", sealed[:-1]),
        (Label.READCAP, b"info", bytes([sealed[0] ^ 1, *sealed[1:]])),
        (Label.READCAP, b"info", b""),
    ):
        _expect(SealError, partial(opener.open, label, info, text))


def _expect(error: type[Exception], use: Callable[[], object]) -> None:
    try:
        use()
    except error:
        return
    raise AssertionError(f"succeeded instead of raising {error.__name__}")
