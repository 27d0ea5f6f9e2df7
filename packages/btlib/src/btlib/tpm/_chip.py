"""One conversation with a chip: connect, make the storage key, do one thing, leave nothing behind. Shell.

Every use of a key is a conversation of its own, in one thread from beginning to end: no context is ever shared, other
programs get the chip in between, and a chip that was restarted is simply met anew. What is opened (the storage key,
keys, sessions) is flushed at the end, whatever happened. Where no resource manager stands before the chip, what a
killed process left behind is flushed at the next beginning: objects that carry our mark or name, and loaded sessions.
So that none of it is a living process's, this user's processes take turns there, by a lock on a file.

All that is secret goes through a session salted with the storage key: its first parameter, in both directions, is
encrypted, and a passphrase is only ever proved. Whoever listens to the bus learns public keys and signatures. Whoever
sits *in* the bus is noticed once the storage key is known: a file of credentials keeps its name.

Doubt: the binding's nested structures do not keep the one around them alive, so every step on the way to a field has
a variable of its own here and in `_templates`; without, freed memory is read.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_CAP,
    TPM2_HC,
    TPM2_PT,
    TPM2_SE,
    TPM2B_ECC_POINT,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
    TPM2B_SENSITIVE_CREATE,
    TPMA_SESSION,
    TPML_PCR_SELECTION,
    TPMS_ECC_POINT,
    TPMS_SENSITIVE_CREATE,
    TPMT_SENSITIVE,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF_OBJECT,
    TPMU_SENSITIVE_COMPOSITE,
    TSS2_Exception,
)
from tpm2_pytss.utils import wrap

from ..errors import CredentialError
from ._answers import Lockout, missing, no_storage, refusal
from ._errors import OtherTpmError, TpmError
from ._format import Blob
from ._templates import is_marked, put_point, storage_template

# The C libraries write every refused command to stderr, also those that are answered here with a sentence.
os.environ.setdefault("TSS2_LOG", "all+NONE")

#: What stands between us and the chip passes every command on as it is: swtpm, a simulator, the bare device.
_BARE = re.compile(r"(swtpm|mssim|libtpms)(:.*)?|device:/dev/tpm\d+")
_COORDINATE = 32
_MANY = 64  #: handles asked for at once; no chip has as many places
_ONE_BY_ONE = threading.Lock()

_BOTH_WAYS = TPMA_SESSION.CONTINUESESSION | TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT
_THERE = TPMA_SESSION.CONTINUESESSION | TPMA_SESSION.DECRYPT
_BACK = TPMA_SESSION.CONTINUESESSION | TPMA_SESSION.ENCRYPT


class Access:
    """What it takes to use keys: the authorization value, and the registers they are bound to. Shows neither."""

    __slots__ = ("auth", "pcrs")

    def __init__(self, auth: bytes, pcrs: Sequence[int] = ()) -> None:
        self.auth = auth
        self.pcrs = tuple(pcrs)


class Conversation:
    """A connection to one chip with its storage key loaded. Use it in the thread that made it."""

    def __init__(self, ectx: ESAPI) -> None:
        self._ectx = ectx
        self._opened: list[ESYS_TR] = []
        self._storage, public, *_ = ectx.create_primary(None, storage_template())
        self._opened.append(self._storage)
        self._storage_public = public
        self.chip = bytes(public.get_name())
        try:
            self._session = self._start(TPM2_SE.HMAC)
        except TSS2_Exception:
            self.close()
            raise

    def create(self, template: TPM2B_PUBLIC, access: Access, data: bytes = b"") -> Blob:
        """Have the chip make an object (or keep `data`)."""
        inner = TPMS_SENSITIVE_CREATE(userAuth=access.auth, data=data)
        private, public, *_ = self._ectx.create(
            self._storage, TPM2B_SENSITIVE_CREATE(inner), template, session1=self._protected(_BOTH_WAYS)
        )
        return _blob(public, private)

    def take_in(self, template: TPM2B_PUBLIC, key: ec.EllipticCurvePrivateKey, access: Access) -> Blob:
        """Hand a private key over to the chip, wrapped for its storage key."""
        put_point(template, key.public_key())
        scalar = key.private_numbers().private_value.to_bytes(_COORDINATE)
        composite = TPMU_SENSITIVE_COMPOSITE(ecc=scalar)
        area = TPMT_SENSITIVE(sensitiveType=TPM2_ALG.ECC, authValue=access.auth, sensitive=composite)
        sensitive = TPM2B_SENSITIVE(sensitiveArea=area)
        inner, duplicate, seed = wrap(self._storage_public.publicArea, template, sensitive)
        none = TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL)
        session = self._protected(_BOTH_WAYS)
        private = self._ectx.import_(self._storage, inner, template, duplicate, seed, none, session1=session)
        return _blob(template, private)

    def sign(self, blob: Blob, access: Access, digest: bytes) -> tuple[int, int]:
        """An ECDSA signature of a digest."""
        with self._loaded(blob, access) as key, self._authorized(access, _THERE) as session:
            scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
            found = self._ectx.sign(key, digest, scheme, session1=session)
            union = found.signature
            signature = union.ecdsa
            return int.from_bytes(bytes(signature.signatureR)), int.from_bytes(bytes(signature.signatureS))

    def exchange(self, blob: Blob, access: Access, point: ec.EllipticCurvePublicKey) -> bytes:
        """The Diffie-Hellman result with a point of the curve: its x coordinate."""
        numbers = point.public_numbers()
        plain = TPMS_ECC_POINT(x=numbers.x.to_bytes(_COORDINATE), y=numbers.y.to_bytes(_COORDINATE))
        with self._loaded(blob, access) as key, self._authorized(access, _BOTH_WAYS) as session:
            found = self._ectx.ecdh_zgen(key, TPM2B_ECC_POINT(plain), session1=session)
            answer = found.point
            return bytes(answer.x).rjust(_COORDINATE, b"\0")

    def unseal(self, blob: Blob, access: Access) -> bytes:
        """What was given to `create` as data."""
        with self._loaded(blob, access) as item, self._authorized(access, _BACK) as session:
            return bytes(self._ectx.unseal(item, session1=session))

    def change_auth(self, blob: Blob, access: Access, auth: bytes) -> Blob:
        """The same object under another authorization value; the blob there was stays valid under the old one."""
        with self._loaded(blob, access) as handle:
            session = self._protected(_BOTH_WAYS)
            private = self._ectx.object_change_auth(handle, self._storage, auth, session1=session)
            return Blob(public=blob.public, private=private.marshal())

    def check(self, blob: Blob, access: Access) -> None:
        """Whether the chip knows an object; says nothing about the passphrase."""
        with self._loaded(blob, access):
            pass

    def policy(self, pcrs: Sequence[int]) -> bytes:
        """The digest of: these registers as they are now, and the passphrase."""
        session = self._start(TPM2_SE.TRIAL)
        try:
            self._ectx.policy_pcr(session, None, _selection(pcrs))
            self._ectx.policy_auth_value(session)
            return bytes(self._ectx.policy_get_digest(session))
        finally:
            self._flush(session)

    def lockout(self) -> Lockout:
        """How many wrong passphrases the chip has counted, and how it forgets them."""
        _, found = self._ectx.get_capability(TPM2_CAP.TPM_PROPERTIES, TPM2_PT.LOCKOUT_COUNTER, 4)
        union = found.data
        properties = union.tpmProperties
        values = {int(item.property): int(item.value) for item in properties}
        return Lockout(
            counted=values.get(int(TPM2_PT.LOCKOUT_COUNTER), 0),
            allowed=values.get(int(TPM2_PT.MAX_AUTH_FAIL), 0),
            seconds=values.get(int(TPM2_PT.LOCKOUT_INTERVAL), 0),
        )

    def close(self) -> None:
        """Flush everything that is still there."""
        for handle in reversed(tuple(self._opened)):
            self._flush(handle)

    @contextmanager
    def _loaded(self, blob: Blob, access: Access) -> Iterator[ESYS_TR]:
        public, _ = TPM2B_PUBLIC.unmarshal(blob.public)
        private, _ = TPM2B_PRIVATE.unmarshal(blob.private)
        handle = self._ectx.load(self._storage, private, public, session1=self._protected(_THERE))
        self._opened.append(handle)
        try:
            self._ectx.tr_set_auth(handle, access.auth)
            yield handle
        finally:
            self._flush(handle)

    @contextmanager
    def _authorized(self, access: Access, attributes: TPMA_SESSION) -> Iterator[ESYS_TR]:
        """The session in which a key is used: ours, or one of the policy that the key demands."""
        if not access.pcrs:
            yield self._protected(attributes)
            return
        session = self._start(TPM2_SE.POLICY)
        try:
            self._ectx.policy_pcr(session, None, _selection(access.pcrs))
            self._ectx.policy_auth_value(session)
            self._ectx.trsess_set_attributes(session, attributes)
            yield session
        finally:
            self._flush(session)

    def _protected(self, attributes: TPMA_SESSION) -> ESYS_TR:
        self._ectx.trsess_set_attributes(self._session, attributes)
        return self._session

    def _start(self, kind: TPM2_SE) -> ESYS_TR:
        session = self._ectx.start_auth_session(self._storage, ESYS_TR.NONE, kind, "aes128cfb", TPM2_ALG.SHA256)
        self._opened.append(session)
        return session

    def _flush(self, handle: ESYS_TR) -> None:
        self._opened.remove(handle)
        try:
            self._ectx.flush_context(handle)
        except TSS2_Exception:
            # The connection is broken, or the chip was reset: the error on the way here says so, and the next
            # conversation sweeps.
            return


@contextmanager
def conversation(
    tcti: str, name: str, *, chip: bytes | None = None, own: Sequence[Blob] = ()
) -> Iterator[Conversation]:
    """Talk to the chip at `tcti` about the credentials called `name`.

    `chip` is the name of the storage key to expect, `own` the blobs that a dead process may have left loaded. Raises
    TpmError with the sentence for whatever the chip refuses.
    """
    with _ONE_BY_ONE, ExitStack() as turn:
        if _BARE.fullmatch(tcti):
            turn.enter_context(_turn(tcti))
        ectx = _connect(tcti)
        try:
            talk = _begin(ectx, tcti, name, own)
            try:
                if chip is not None and talk.chip != chip:
                    raise OtherTpmError(
                        f"the keys of {name} are in another TPM than the one at {tcti}, or that one was cleared",
                        hint="use the machine where they were made; without it, make new keys and have them granted",
                    )
                yield talk
            except TSS2_Exception as error:
                raise _refusal(error, tcti, name, talk) from error
            finally:
                talk.close()
        finally:
            ectx.close()


@contextmanager
def _turn(tcti: str) -> Iterator[None]:
    """Keep this user's other processes away from a bare chip: each would flush what the other has just loaded."""
    chip = hashlib.sha256(tcti.encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir(), f"blocktree-tpm-{os.getuid()}-{chip}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TpmError(
            f"no turn at the TPM at {tcti}: the lock file {path} cannot be opened: {error.strerror}",
            hint="remove it, or set TMPDIR to a directory where you may write",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _begin(ectx: ESAPI, tcti: str, name: str, own: Sequence[Blob]) -> Conversation:
    try:
        if _BARE.fullmatch(tcti):
            _sweep(ectx, {_name(blob) for blob in own})
        return Conversation(ectx)
    except TSS2_Exception as error:
        raise no_storage(error.error, int(error.rc), str(error), tcti=tcti, name=name) from error


def _connect(tcti: str) -> ESAPI:
    try:
        return ESAPI(tcti)
    except TSS2_Exception as error:
        raise missing(tcti, _device_fault(tcti)) from error


def _device_fault(tcti: str) -> str | None:
    """What is wrong with the device file, where there is one."""
    kind, _, device = tcti.partition(":")
    if kind != "device":
        return None
    if not os.path.exists(device):  # noqa: PTH110 - a question to the system, not a path to work with
        return "there is no such device"
    return None if os.access(device, os.R_OK | os.W_OK) else "this user may not use it"


def _refusal(error: TSS2_Exception, tcti: str, name: str, talk: Conversation) -> CredentialError:
    """What the chip refused, as a sentence."""
    try:
        lockout = talk.lockout()
    except TSS2_Exception:  # the chip is gone; what the first error was is to be told
        lockout = None
    return refusal(error.error, int(error.rc), str(error), tcti=tcti, name=name, lockout=lockout)


def _sweep(ectx: ESAPI, names: set[bytes]) -> None:
    """Flush what a killed process left in the chip."""
    for handle in _handles(ectx, TPM2_HC.LOADED_SESSION_FIRST):
        ectx.flush_context(ectx.tr_from_tpmpublic(handle))
    for handle in _handles(ectx, TPM2_HC.TRANSIENT_FIRST):
        found = ectx.tr_from_tpmpublic(handle)
        public, *_ = ectx.read_public(found)
        if is_marked(public) or bytes(public.get_name()) in names:
            ectx.flush_context(found)
        else:
            ectx.tr_close(found)


def _handles(ectx: ESAPI, first: int) -> list[int]:
    _, found = ectx.get_capability(TPM2_CAP.HANDLES, int(first), _MANY)
    union = found.data
    handles = union.handles
    return [int(handle) for handle in handles]


def _selection(pcrs: Sequence[int]) -> TPML_PCR_SELECTION:
    return TPML_PCR_SELECTION.parse("sha256:" + ",".join(map(str, pcrs)))


def _blob(public: TPM2B_PUBLIC, private: TPM2B_PRIVATE) -> Blob:
    return Blob(public=public.marshal(), private=private.marshal())


def _name(blob: Blob) -> bytes:
    public, _ = TPM2B_PUBLIC.unmarshal(blob.public)
    return bytes(public.get_name())
