"""What the tests of keys in a TPM do to the chip itself: count and fill its slots, listen on its bus, be its owner."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pytest
from btlib.testing import QUICK_COST
from btlib.testing.swtpm import SoftwareTpm

pytest.importorskip("tpm2_pytss", reason="the extra btlib[tpm] is not installed", exc_type=ImportError)
if not SoftwareTpm.available():
    pytest.skip("swtpm is not installed: apt-get install swtpm", allow_module_level=True)

from btlib.tpm import TpmCredentialStore
from tpm2_pytss import ESAPI, ESYS_TR, TPM2_ALG, TPM2_CAP, TPM2_HC, TPM2_SE

PASS = "correct horse"
TRIES = 32  #: wrong passphrases that a PC's chip takes; swtpm begins with 3
FORGETS = 600  #: seconds after which it forgets one


@contextmanager
def running_tpm(state: Path, *, tries: int = TRIES) -> Iterator[SoftwareTpm]:
    with SoftwareTpm(state) as chip:
        with ESAPI(chip.tcti) as ectx:
            ectx.dictionary_attack_parameters(tries, FORGETS, FORGETS)
        yield chip


def credential_store(tcti: str, path: Path, **options: object) -> TpmCredentialStore:
    return TpmCredentialStore(path, tcti=tcti, cost=QUICK_COST, **options)  # type: ignore[arg-type]


def slots(tcti: str) -> tuple[int, int]:
    """How many objects and sessions are in the chip."""
    with ESAPI(tcti) as ectx:
        return _count(ectx, TPM2_HC.TRANSIENT_FIRST), _count(ectx, TPM2_HC.LOADED_SESSION_FIRST)


def _count(ectx: ESAPI, first: int) -> int:
    _, found = ectx.get_capability(TPM2_CAP.HANDLES, int(first), 64)
    union = found.data
    handles = union.handles
    return len(list(handles))


def leave_objects(tcti: str, count: int) -> None:
    """Fill slots as another program would that does not tidy up."""
    with ESAPI(tcti) as ectx:
        for _ in range(count):
            ectx.create_primary(None, "ecc256:aes128cfb")


def leave_session(tcti: str) -> None:
    with ESAPI(tcti) as ectx:
        ectx.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.HMAC, "aes128cfb", TPM2_ALG.SHA256)


def extend_register(tcti: str, register: int) -> None:
    """What other firmware would do while the machine starts."""
    with ESAPI(tcti) as ectx:
        ectx.pcr_event(ESYS_TR(register), b"other firmware")


def set_owner_password(tcti: str) -> None:
    with ESAPI(tcti) as ectx:
        ectx.hierarchy_change_auth(ESYS_TR.OWNER, b"the owner's")


def end_lockout(tcti: str) -> None:
    with ESAPI(tcti) as ectx:
        ectx.dictionary_attack_lock_reset()


class Bus:
    """A proxy before a chip that keeps every byte, both ways."""

    def __init__(self, tpm: SoftwareTpm) -> None:
        self._target = tpm.port
        self._listeners = _neighbours()
        self._threads: list[threading.Thread] = []
        self._chunks: list[bytes] = []

    @property
    def tcti(self) -> str:
        return f"swtpm:host=127.0.0.1,port={self._listeners[0].getsockname()[1]}"

    @property
    def recorded(self) -> bytes:
        return b"".join(self._chunks)

    def _serve(self, listener: socket.socket, target: int) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", target)) as chip:
                back = threading.Thread(target=self._copy, args=(chip, client))
                back.start()
                self._copy(client, chip)
                back.join()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._chunks.append(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Bus:
        for offset, listener in enumerate(self._listeners):
            thread = threading.Thread(target=self._serve, args=(listener, self._target + offset))
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join()


def _neighbours() -> tuple[socket.socket, socket.socket]:
    while True:
        first = socket.create_server(("127.0.0.1", 0))
        try:
            return first, socket.create_server(("127.0.0.1", first.getsockname()[1] + 1))
        except OSError:
            first.close()
