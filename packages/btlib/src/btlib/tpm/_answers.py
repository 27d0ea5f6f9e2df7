"""What a chip's answer means: one table from its codes to our errors, with the sentence and the next step. Pure."""

from __future__ import annotations

import msgspec
from tpm2_pytss import TPM2_RC, TSS2_RC

from ..errors import CredentialError
from ._errors import TpmError, TpmFullError, TpmLockedError, TpmMissingError, TpmStateError
from ._format import damaged

_LAYER = int(TSS2_RC.RC_LAYER_MASK)
_TRANSPORT = int(TSS2_RC.TCTI_RC_LAYER)
_WRONG = {int(TPM2_RC.AUTH_FAIL), int(TPM2_RC.BAD_AUTH)}
_FULL = {
    int(TPM2_RC.OBJECT_MEMORY),
    int(TPM2_RC.SESSION_MEMORY),
    int(TPM2_RC.OBJECT_HANDLES),
    int(TPM2_RC.SESSION_HANDLES),
}
_DAMAGED = {int(TPM2_RC.INTEGRITY), int(TPM2_RC.SIZE)}


class Lockout(msgspec.Struct, frozen=True, kw_only=True):
    """What a chip tells about wrong passphrases."""

    counted: int
    allowed: int
    seconds: int  #: after which one is forgotten

    @property
    def left(self) -> int:
        return max(0, self.allowed - self.counted)


def missing(tcti: str, fault: str | None) -> TpmMissingError:
    """The error where no chip answers."""
    if fault == "this user may not use it":
        return TpmMissingError(
            f"the TPM at {tcti} cannot be used: {fault}",
            hint="run: sudo usermod -aG tss $USER, then log in again",
        )
    reason = f": {fault}" if fault else ""
    return TpmMissingError(
        f"no TPM answers at {tcti}{reason}",
        hint="look at: ls /dev/tpm*; enable the TPM in the firmware, or name another with --tcti or BLOCKTREE_TCTI",
    )


def no_storage(code: int, rc: int, text: str, *, tcti: str, name: str) -> CredentialError:
    """The error where not even the storage key could be made; no passphrase of ours was asked for yet."""
    if code in _WRONG:
        return TpmError(
            f"the owner of the TPM at {tcti} has set a password, and keys can only be kept where there is none",
            hint="as the owner, run: tpm2_changeauth -c owner -p PASSWORD",
        )
    return refusal(code, rc, text, tcti=tcti, name=name, lockout=None)


def refusal(code: int, rc: int, text: str, *, tcti: str, name: str, lockout: Lockout | None) -> CredentialError:
    """The error for a refused command. `code` is the answer without the place where it arose, `rc` with it."""
    if rc & _LAYER == _TRANSPORT:
        return missing(tcti, "the connection broke")
    if code in _WRONG:
        return _wrong(name, lockout)
    if code == int(TPM2_RC.LOCKOUT):
        return _locked(tcti, lockout)
    if code in _FULL:
        return TpmFullError(
            f"the TPM at {tcti} has no place left: other programs keep keys or sessions in it",
            hint="use device:/dev/tpmrm0, which makes room, or run: tpm2_flushcontext -t; tpm2_flushcontext -l",
        )
    if code in (int(TPM2_RC.POLICY_FAIL), int(TPM2_RC.PCR_CHANGED)):
        return TpmStateError(
            f"the keys of {name} are bound to how this machine starts, and it started differently",
            hint="start it as before, or make new keys and have them granted",
        )
    if code in _DAMAGED:
        return damaged(name, "the TPM does not recognise its keys")
    return TpmError(f"the TPM at {tcti} refused: {text}", hint="look at: journalctl -k | grep -i tpm")


def _wrong(name: str, lockout: Lockout | None) -> CredentialError:
    hint = "try again"
    if lockout is not None and lockout.allowed:
        hint += f"; after {lockout.left} more wrong ones the TPM refuses all for a while"
    return CredentialError(f"this is not the passphrase of {name}", hint=hint)


def _locked(tcti: str, lockout: Lockout | None) -> TpmLockedError:
    wait = "some minutes" if lockout is None or not lockout.seconds else _duration(lockout.seconds)
    return TpmLockedError(
        f"the TPM at {tcti} takes no passphrase for now: too many were wrong, or it lost power too often",
        hint=f"wait {wait} and try once, or end it at once with: tpm2_dictionarylockout --clear-lockout",
    )


def _duration(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return f"{minutes} minute{'s' if minutes != 1 else ''}"
