"""`TpmCredentialStore`: credentials whose keys are in a TPM 2.0, and whose file holds what only that chip can use."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from tpm2_pytss import TPM2B_PUBLIC

from ..credentials import DEFAULT_COST, Credentials, PassphraseCost
from ..credentials._format import derive_key
from ..credentials._kept import read_kept, taken, write_kept
from ..errors import CredentialError, PrincipalError
from ..identity import Identity
from ..key_pairs import p256_private_keys
from ..kinds import Kind
from ..public_keys import PublicKeys, Suite
from ..writecaps import Chain
from ._chip import Access, Conversation, conversation
from ._format import MAX_FILE_BYTES, SALT_SIZE, Blob, TpmRecord, damaged, decode_record, encode_record
from ._keys import TpmKeys
from ._templates import data_template, is_whole, point_of, sealing_template, signing_template

DEFAULT_TCTI = "device:/dev/tpmrm0"  #: the kernel's own resource manager

_Make = Callable[[Conversation, Access, bytes | None], tuple[Blob, Blob, Blob | None]]


class TpmCredentialStore:
    """A `CredentialStore` in a chip, with a file of mode 0600 for what the chip gives out wrapped.

    `tcti` says how to reach the chip (None: as the file says, else the kernel's device). `pcrs` binds keys that are
    made from now on to these registers as well. Of keys that are `exportable` the seed is kept in the chip too, and
    `reveal` gives it out for the passphrase; others cannot leave the chip at all. `cost` is that of one guess.
    """

    def __init__(
        self,
        path: Path,
        *,
        tcti: str | None = None,
        pcrs: Iterable[int] = (),
        exportable: bool = False,
        cost: PassphraseCost = DEFAULT_COST,
    ) -> None:
        self.path = path
        self._tcti = tcti
        self._pcrs = tuple(sorted(set(pcrs)))
        self._exportable = exportable
        self._cost = cost

    @property
    def tcti(self) -> str:
        """How the chip is reached. Raises CredentialError for a damaged file."""
        if self._tcti is not None or not self.exists():
            return self._tcti or DEFAULT_TCTI
        return self._read().tcti

    def exists(self) -> bool:
        """See `CredentialStore`; true also for a damaged file."""
        return self.path.exists()

    def public(self) -> PublicKeys:
        """See `CredentialStore`."""
        return self._read().public

    def generate(self, suite: Suite, passphrase: str) -> PublicKeys:
        """See `CredentialStore`. Exportable keys are made from a seed outside and taken in."""
        if self._exportable:
            credentials = Credentials.generate(suite)
            self.save(credentials, passphrase)
            return credentials.public
        _require_suite(suite)
        return self._make(passphrase, _born, (), replace_old=False).public

    def save(self, credentials: Credentials, passphrase: str, *, replace: bool = False) -> None:
        """See `CredentialStore`. Takes keys in that were made outside."""
        _require_suite(credentials.suite)

        def make(talk: Conversation, access: Access, policy: bytes | None) -> tuple[Blob, Blob, Blob | None]:
            signing, sealing = p256_private_keys(credentials.seed)
            kept = talk.create(data_template(policy), access, credentials.seed) if self._exportable else None
            return (
                talk.take_in(signing_template(policy, made=False), signing, access),
                talk.take_in(sealing_template(policy, made=False), sealing, access),
                kept,
            )

        self._make(passphrase, make, credentials.chains, replace_old=replace)

    def unlock(self, passphrase: str) -> Identity:
        """See `CredentialStore`. Proves both keys and the passphrase to be right before it answers."""
        record = self._read()
        access = _access(record, passphrase)
        self._prove(record, access)
        return self._identity(record, access)

    def add_chains(self, passphrase: str, *chains: Chain) -> Identity:
        """See `CredentialStore`."""
        record = self._read()
        access = _access(record, passphrase)
        self._prove(record, access)
        new = tuple(chain for chain in chains if chain not in record.chains)
        record = replace(record, chains=(*record.chains, *new))
        self._write(record, replace_old=True)
        return self._identity(record, access)

    def change_passphrase(self, old: str, new: str) -> None:
        """See `CredentialStore`. The chip itself puts the keys under the new one."""
        record = self._read()
        access = _access(record, old)
        salt = secrets.token_bytes(SALT_SIZE)
        auth = _authorization(new, salt, self._cost)
        with self._talk(record) as talk:
            signing, sealing = (talk.change_auth(blob, access, auth) for blob in (record.signing, record.sealing))
            seed = None if record.seed is None else talk.change_auth(record.seed, access, auth)
        changed = replace(record, salt=salt, **_costs(self._cost), signing=signing, sealing=sealing, seed=seed)
        self._write(changed, replace_old=True)

    def reveal(self, passphrase: str) -> Credentials:
        """See `CredentialStore`. Only for keys that were kept as exportable."""
        record = self._read()
        if record.seed is None:
            raise CredentialError(
                f"the keys of {self.path} cannot leave their TPM",
                kind=Kind.NOT_SUPPORTED,
                hint="only a domain's root has recovery words; a machine that is lost gets new keys and new grants",
            )
        with self._talk(record) as talk:
            seed = talk.unseal(record.seed, _access(record, passphrase))
        credentials = Credentials(suite=Suite.P256, seed=seed, chains=record.chains)
        if credentials.public != record.public:
            raise damaged(str(self.path), "the seed in it makes other keys")
        return credentials

    def _make(self, passphrase: str, make: _Make, chains: tuple[Chain, ...], *, replace_old: bool) -> TpmRecord:
        if self.exists() and not replace_old:
            raise taken(self.path)
        salt, tcti = secrets.token_bytes(SALT_SIZE), self._tcti or DEFAULT_TCTI
        access = Access(_authorization(passphrase, salt, self._cost), self._pcrs)
        with conversation(tcti, str(self.path)) as talk:
            policy = talk.policy(self._pcrs) if self._pcrs else None
            signing, sealing, seed = make(talk, access, policy)
        record = TpmRecord(
            tcti=tcti,
            **_costs(self._cost),
            salt=salt,
            chip=talk.chip,
            pcrs=self._pcrs,
            public=_public_keys(signing, sealing),
            signing=signing,
            sealing=sealing,
            seed=seed,
            chains=chains,
        )
        self._write(record, replace_old=replace_old)
        return record

    def _prove(self, record: TpmRecord, access: Access) -> None:
        """Whether chip, passphrase and registers are right, by a Diffie-Hellman with a key of a moment."""
        probe = ec.generate_private_key(ec.SECP256R1())
        with self._talk(record) as talk:
            talk.check(record.signing, access)
            answer = talk.exchange(record.sealing, access, probe.public_key())
        sealing = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), record.public.sealing)
        if answer != probe.exchange(ec.ECDH(), sealing):
            raise damaged(str(self.path), "the TPM has another key than it says")

    def _identity(self, record: TpmRecord, access: Access) -> Identity:
        keys = TpmKeys(record, self._tcti or record.tcti, str(self.path), access)
        return Identity(signer=keys, opener=keys, chains=record.chains)

    def _talk(self, record: TpmRecord) -> AbstractContextManager[Conversation]:
        return conversation(self._tcti or record.tcti, str(self.path), chip=record.chip, own=record.blobs)

    def _read(self) -> TpmRecord:
        record = decode_record(read_kept(self.path, MAX_FILE_BYTES), str(self.path))
        if not record.cost.in_bounds:
            raise damaged(str(self.path), "it demands a cost outside the limits")
        if not all(map(is_whole, record.blobs)):
            raise damaged(str(self.path), "what it holds is no object of a TPM")
        if _public_keys(record.signing, record.sealing, str(self.path)) != record.public:
            raise damaged(str(self.path), "its keys are not those that it names")
        return record

    def _write(self, record: TpmRecord, *, replace_old: bool) -> None:
        write_kept(self.path, encode_record(record), replace=replace_old)

    def __repr__(self) -> str:
        return f"TpmCredentialStore({str(self.path)!r})"


def _born(talk: Conversation, access: Access, policy: bytes | None) -> tuple[Blob, Blob, Blob | None]:
    """Keys that the chip makes itself."""
    return (
        talk.create(signing_template(policy, made=True), access),
        talk.create(sealing_template(policy, made=True), access),
        None,
    )


def _require_suite(suite: Suite) -> None:
    if suite is not Suite.P256:
        raise CredentialError(
            f"a TPM keeps keys of suite {Suite.P256.text} alone, not {suite.text}",
            kind=Kind.NOT_SUPPORTED,
            hint=f"use --suite {Suite.P256.text}",
        )


def _authorization(passphrase: str, salt: bytes, cost: PassphraseCost) -> bytes:
    # Chips and libraries drop zeros at the end of an authorization value, not all at the same places.
    return derive_key(passphrase, salt, cost).rstrip(b"\0")


def _access(record: TpmRecord, passphrase: str) -> Access:
    return Access(_authorization(passphrase, record.salt, record.cost), record.pcrs)


def _costs(cost: PassphraseCost) -> dict[str, int]:
    return {"memory_kib": cost.memory_kib, "iterations": cost.iterations, "lanes": cost.lanes}


def _public_keys(signing: Blob, sealing: Blob, name: str = "") -> PublicKeys:
    try:
        points = [point_of(TPM2B_PUBLIC.unmarshal(blob.public)[0]) for blob in (signing, sealing)]
        return PublicKeys(suite=Suite.P256, signing=points[0], sealing=points[1])
    except (ValueError, PrincipalError, RuntimeError) as error:  # TSS2_Exception is a RuntimeError
        raise damaged(name, "it holds no public keys") from error
