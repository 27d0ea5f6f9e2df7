"""TLS 1.3 without a socket: bytes in, bytes out, through the standard library's memory buffers.

It says nothing about who the peer is: certificates are ephemeral and self-signed. What counts is that each side proved
that it holds the key of the certificate that `peer_certificate` shows; AUTH frames then bind identities to both.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import cast

from .errors import RemoteProtocolError

ALPN = "bttp/1"


class TlsPump:
    """One end of a TLS connection. Not thread-safe. After a RemoteProtocolError it is of no more use."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self.feed: Callable[[bytes | bytearray | memoryview], object] = self._incoming.write  #: ciphertext that came
        #: Ciphertext for the network; empty if there is none.
        self.take: Callable[[], bytes] = self._outgoing.read
        self._read = cast(Callable[[int, memoryview], int], self._tls.read)  # with a buffer it gives a count
        self.ended = False  #: the peer said that nothing more comes

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is done. Look at `take()` after each call."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise RemoteProtocolError(f"the TLS handshake failed: {error.reason or error}") from error
        if self._tls.version() != "TLSv1.3" or self._tls.selected_alpn_protocol() != ALPN:
            raise RemoteProtocolError(f"the peer speaks TLS 1.3, but not {ALPN}")
        return True

    @property
    def peer_certificate(self) -> bytes:
        """The peer's certificate (DER) whose key it proved to hold. Empty before the handshake is done."""
        return self._tls.getpeercert(binary_form=True) or b""

    def read_into(self, space: memoryview) -> int:
        """Put plaintext into `space`; how many bytes. 0: no more without new ciphertext, or `ended`."""
        count, size, read = 0, len(space), self._read
        try:
            # The counters spare an exception for "no more", which costs as much as a small record.
            while count < size and (self._incoming.pending or self._tls.pending()):
                got = read(size - count, space[count:]) if count else read(size, space)
                if not got:
                    self.ended = True
                    break
                count += got
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise RemoteProtocolError(f"TLS failed: {error.reason or error}") from error
        return count

    def write(self, plaintext: bytes) -> None:
        """Encrypt; the ciphertext waits for `take()`. Raises RemoteProtocolError once TLS has failed."""
        try:
            self._tls.write(plaintext)
        except ssl.SSLError as error:
            raise RemoteProtocolError(f"TLS failed: {error.reason or error}") from error

    def finish(self) -> None:
        """Say that nothing more comes (close_notify)."""
        # The peer's own close_notify is not waited for; before the handshake there is nothing to say.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
