"""Ephemeral TLS keys of this process, and the TLS contexts made of them. A shell: it draws randomness.

Every process makes one P-256 key with a self-signed certificate at its first link. The certificate names nobody; its
subject is random, since trust anchors are looked up by subject. Its dates say nothing either, so that clocks that
disagree do no harm: what is limited in time are the chains.
"""

from __future__ import annotations

import datetime
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ._tls import ALPN
from .errors import RemoteProtocolError

_ANCHORS = 32  # client certificates of one server context; then a new one, so that look-ups and memory stay small
_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_TO = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


class EphemeralKeys:
    """One key and certificate with their TLS contexts. Thread-safe."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key)
        self.certificate = certificate.public_bytes(serialization.Encoding.DER)
        self._pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._lock = threading.Lock()
        self._client = self._make_client()
        self._server = self._make_server()
        self._anchors: set[bytes] = set()

    def client_context(self) -> ssl.SSLContext:
        """For connecting. It takes any server certificate; AUTH decides."""
        return self._client

    def server_context(self, client_certificate: bytes) -> ssl.SSLContext:
        """For answering the client of this certificate. Raises RemoteProtocolError if it is none.

        The context may be shared with other clients: the link must check that the peer's certificate is this one.
        """
        with self._lock:
            if client_certificate not in self._anchors:
                if len(self._anchors) >= _ANCHORS:
                    self._server, self._anchors = self._make_server(), set()
                try:
                    self._server.load_verify_locations(cadata=client_certificate)
                except ssl.SSLError as error:
                    raise RemoteProtocolError("the preface holds no certificate") from error
                self._anchors.add(client_certificate)
            return self._server

    def _make_client(self) -> ssl.SSLContext:
        context = self._make_context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def _make_server(self) -> ssl.SSLContext:
        context = self._make_context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.num_tickets = 0  # a resumed session would bring no certificates
        return context

    def _make_context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        with _as_file(self._pem) as path:
            context.load_cert_chain(path)
        return context


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, os.urandom(16).hex())])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(_FROM).not_valid_after(_TO)
    return builder.sign(key, hashes.SHA256())


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """`load_cert_chain` takes files only; this one never touches a disk."""
    descriptor = os.memfd_create("bttp", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


_lock = threading.Lock()
_keys: EphemeralKeys | None = None
_owner = 0


def process_keys() -> EphemeralKeys:
    """The keys of this process; a child after a fork makes its own."""
    global _keys, _owner
    with _lock:
        if _keys is None or _owner != os.getpid():
            _keys, _owner = EphemeralKeys(), os.getpid()
        return _keys
