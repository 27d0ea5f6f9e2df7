"""Process keys write in an identity's stead for some hours, and can do nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from btlib.clocks import CLOCK_SKEW
from btlib.errors import CapabilityError, CredentialError
from btlib.identity import Identity
from btlib.key_pairs import KeyPair
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.paths import BlockPath
from btlib.process_keys import LIFETIME, RENEWAL, ProcessKeys, for_process, server_identity
from btlib.public_keys import PublicKeys, Suite
from btlib.revocations import Revocations
from btlib.testing import make_keys
from btlib.verification import Decision, Stage, verify_chain
from btlib.writecaps import MAX_CAPS, SERVE, Chain, Rights, issue_writecap

NOW = 1_800_000_000
YEAR = 365 * 86_400
BOTH = Rights.WRITE | Rights.EXECUTE
ROOT, CHIP = make_keys("root"), make_keys("chip")
SCOPE = bytes(16)
SERVER = BlockPath(ROOT.public.principal, ("home", "file", "btfsd"))


class Chip:
    """A signer that is no `KeyPair`, counts, and can be away."""

    def __init__(self) -> None:
        self.signatures = 0
        self.away = False

    @property
    def public(self) -> PublicKeys:
        return CHIP.public

    def sign(self, label: Label, message: bytes) -> bytes:
        if self.away:
            raise CredentialError("no chip answers", kind=Kind.UNREACHABLE)
        self.signatures += 1
        return CHIP.sign(label, message)


def chain_of_chip(
    rights: Rights = BOTH, *, may_delegate: bool = True, end: int = NOW + YEAR, parent: Chain | None = None
) -> Chain:
    return issue_writecap(
        CHIP if parent else ROOT,
        parent or Chain(),
        subject=CHIP.public.principal,
        path=BlockPath(ROOT.public.principal, ("home",)),
        scope=SCOPE,
        rights=rights,
        not_before=NOW - YEAR,
        not_after=end,
        may_delegate=may_delegate,
        serial=bytes(16),
    )


FILE = BlockPath(ROOT.public.principal, ("home", "file"))


def decide(
    chain: Chain,
    subject: PublicKeys,
    right: Rights,
    now: int = NOW,
    revoked: Revocations | None = None,
    path: BlockPath = FILE,
) -> Decision:
    return verify_chain(
        chain,
        root=ROOT.public.principal,
        subject=subject.principal,
        right=right,
        now=now,
        path=path,
        lineage=(SCOPE,),
        revocations=revoked or Revocations(),
    )


@pytest.fixture
def chip() -> Chip:
    return Chip()


@pytest.fixture
def keys(chip: Chip) -> ProcessKeys:
    return ProcessKeys(chip)


def test_they_may_write_where_the_identity_may(keys: ProcessKeys) -> None:
    found = keys.certify(chain_of_chip(), NOW)
    assert decide(found.chain, found.public, Rights.WRITE).allowed
    found.public.verify(Label.COMMIT, b"message", found.signer.sign(Label.COMMIT, b"message"))


def test_they_may_neither_execute_nor_delegate(keys: ProcessKeys) -> None:
    found = keys.certify(chain_of_chip(), NOW)
    assert decide(found.chain, found.public, Rights.EXECUTE).stage is Stage.RIGHT
    with pytest.raises(CapabilityError, match=r"does not let .* delegate"):
        issue_writecap(
            found.signer,
            found.chain,
            subject=ROOT.public.principal,
            path=BlockPath(ROOT.public.principal, ("home",)),
            scope=SCOPE,
            rights=Rights.WRITE,
            not_before=NOW,
            not_after=NOW,
            may_delegate=False,
            serial=bytes(16),
        )


def test_they_end_after_hours_and_with_the_identitys_own_chain(keys: ProcessKeys) -> None:
    found = keys.certify(chain_of_chip(), NOW)
    assert decide(found.chain, found.public, Rights.WRITE, NOW + LIFETIME).allowed
    assert decide(found.chain, found.public, Rights.WRITE, NOW + LIFETIME + 1).kind is Kind.EXPIRED
    last = keys.certify(chain_of_chip(end=NOW + 60), NOW).chain.last
    assert last is not None
    assert last.not_after == NOW + 60


def test_revoking_the_identity_revokes_them(keys: ProcessKeys) -> None:
    found = keys.certify(chain_of_chip(), NOW)
    revoked = Revocations(principals={CHIP.public.principal: NOW})
    assert decide(found.chain, found.public, Rights.WRITE, NOW, revoked).stage is Stage.REVOCATION


def test_the_chip_signs_once_until_a_renewal_is_due(keys: ProcessKeys, chip: Chip) -> None:
    chain = chain_of_chip()
    for seconds in range(0, RENEWAL, 600):
        keys.certify(chain, NOW + seconds)
    assert chip.signatures == 1
    renewed = keys.certify(chain, NOW + RENEWAL)
    assert chip.signatures == 2
    assert decide(renewed.chain, renewed.public, Rights.WRITE, NOW + RENEWAL + LIFETIME).allowed


def test_a_clock_that_is_put_back_makes_a_new_certificate(keys: ProcessKeys, chip: Chip) -> None:
    chain = chain_of_chip()
    keys.certify(chain, NOW)
    keys.certify(chain, NOW - CLOCK_SKEW)
    assert chip.signatures == 1
    found = keys.certify(chain, NOW - 2 * CLOCK_SKEW)
    assert chip.signatures == 2
    assert decide(found.chain, found.public, Rights.WRITE, NOW - 2 * CLOCK_SKEW).allowed


def test_a_chip_that_is_away_at_renewal_costs_nothing_until_the_certificate_ends(keys: ProcessKeys, chip: Chip) -> None:
    chain = chain_of_chip()
    first = keys.certify(chain, NOW)
    chip.away = True
    assert keys.certify(chain, NOW + RENEWAL) is first
    with pytest.raises(CredentialError, match="no chip answers"):
        keys.certify(chain, NOW + LIFETIME + 1)
    chip.away = False
    assert keys.certify(chain, NOW + LIFETIME + 1) is not first


@pytest.mark.parametrize(
    "chain",
    [Chain(), chain_of_chip(may_delegate=False), chain_of_chip(Rights.EXECUTE)],
    ids=["root", "not to be delegated", "no right to write"],
)
def test_where_the_identity_may_not_delegate_it_signs_itself(keys: ProcessKeys, chip: Chip, chain: Chain) -> None:
    found = keys.certify(chain, NOW)
    assert (found.signer, found.chain) == (chip, chain)
    assert not found.is_due(NOW + YEAR)


def test_a_chain_of_full_length_is_used_as_it_is(keys: ProcessKeys, chip: Chip) -> None:
    chain = chain_of_chip()
    while len(chain.caps) < MAX_CAPS:
        chain = chain_of_chip(parent=chain)
    assert keys.certify(chain, NOW).signer is chip


def test_keys_in_memory_need_none(chip: Chip) -> None:
    memory = KeyPair.generate()
    identity = Identity(signer=memory, opener=memory)
    assert for_process(identity) is identity
    assert for_process(replace(identity, signer=chip, opener=CHIP)).process_keys is not None


def test_they_stay_with_an_identity_that_gets_more_chains(chip: Chip) -> None:
    identity = for_process(Identity(signer=chip, opener=CHIP))
    assert identity.with_chains(chain_of_chip()).process_keys is identity.process_keys
    assert "process" not in repr(identity)


class Elsewhere:
    """Keys that are in no chip and in no memory of this process."""

    def __init__(self, suite: Suite) -> None:
        self._keys = make_keys("elsewhere", suite)
        self.public = self._keys.public

    def sign(self, label: Label, message: bytes) -> bytes:
        return self._keys.sign(label, message)


@pytest.mark.parametrize("suite", Suite)
def test_process_keys_are_of_the_suite_of_their_identity(suite: Suite) -> None:
    """A post-quantum identity must not come to write with classic keys."""
    owner = Elsewhere(suite)
    chain = issue_writecap(
        ROOT,
        Chain(),
        subject=owner.public.principal,
        path=BlockPath(ROOT.public.principal),
        scope=SCOPE,
        rights=BOTH,
        not_before=NOW - YEAR,
        not_after=NOW + YEAR,
        may_delegate=True,
        serial=bytes(16),
    )
    certified = ProcessKeys(owner).certify(chain, NOW)
    assert certified.public.suite is suite
    assert certified.public != owner.public


def test_a_server_speaks_by_them_where_it_may_delegate(chip: Chip) -> None:
    identity = for_process(Identity(signer=chip, opener=CHIP, chains=(chain_of_chip(),)))
    speaker = server_identity(identity, SERVER, NOW)
    (chain,) = speaker.chains
    assert speaker.principal != identity.principal
    assert decide(chain, speaker.public, SERVE, path=SERVER).allowed
    assert decide(chain, speaker.public, SERVE).stage is Stage.PATH
    for number in range(10):
        message = bytes([number])
        speaker.public.verify(Label.LINK_SERVER, message, speaker.signer.sign(Label.LINK_SERVER, message))
    assert chip.signatures == 1
    assert server_identity(identity, SERVER, NOW + RENEWAL - 1).chains == speaker.chains
    assert server_identity(identity, SERVER, NOW + RENEWAL).chains != speaker.chains


def test_a_server_speaks_by_the_chains_that_last_where_others_have_run_out(chip: Chip) -> None:
    lapsed, lasting = chain_of_chip(end=NOW - 10 * CLOCK_SKEW), chain_of_chip()
    speaker = server_identity(for_process(Identity(signer=chip, opener=CHIP, chains=(lapsed, lasting))), SERVER, NOW)
    (chain,) = speaker.chains
    assert decide(chain, speaker.public, Rights.EXECUTE, path=SERVER).allowed
    with pytest.raises(CapabilityError):
        server_identity(for_process(Identity(signer=chip, opener=CHIP, chains=(lapsed,))), SERVER, NOW)


def test_a_server_speaks_for_itself_where_it_may_not_delegate(chip: Chip) -> None:
    held = (chain_of_chip(may_delegate=False), chain_of_chip(Rights.WRITE))
    identity = for_process(Identity(signer=chip, opener=CHIP, chains=held))
    assert server_identity(identity, SERVER, NOW) is identity
    memory = Identity(signer=CHIP, opener=CHIP, chains=(chain_of_chip(),))
    assert server_identity(memory, SERVER, NOW) is memory


def test_a_server_outside_of_what_it_was_given_speaks_for_itself(chip: Chip) -> None:
    identity = for_process(Identity(signer=chip, opener=CHIP, chains=(chain_of_chip(),)))
    assert server_identity(identity, BlockPath(ROOT.public.principal, ("other",)), NOW) is identity
