"""As whom a server speaks: by keys that a chip certified, renewed in time."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from btfproto.testing.domains import NOW, World
from btfsd._speaker import INTERVAL, Speaker
from btlib.errors import CredentialError
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.labels import Label
from btlib.process_keys import LIFETIME, RENEWAL, for_process
from btlib.public_keys import PublicKeys
from btlib.signing import Signer


class Chip:
    """A signer that is no `KeyPair`, and can be away."""

    def __init__(self, keys: Signer) -> None:
        self._keys = keys
        self.away = False

    @property
    def public(self) -> PublicKeys:
        return self._keys.public

    def sign(self, label: Label, message: bytes) -> bytes:
        if self.away:
            raise CredentialError("no chip answers", kind=Kind.UNREACHABLE)
        return self._keys.sign(label, message)


class Stage:
    def __init__(self) -> None:
        world = World.make()
        machine = world.machine
        self.path = world.path("hosts", "nas", "btfsd")
        self.now = float(NOW)
        self.chip = Chip(machine.signer)
        self.machine = for_process(replace(machine, signer=self.chip))
        self.renewed: list[Identity] = []

    def speaker(self) -> Speaker:
        return Speaker(self.machine, self.path, lambda: self.now)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_machine_with_keys_in_memory_speaks_for_itself_and_goes_on_with_what_it_was_given_since() -> None:
    world = World.make()
    machine = for_process(world.machine)
    speaker = Speaker(machine, world.path(), lambda: float(NOW))
    assert speaker.identity == machine
    renewed: list[Identity] = []
    speaker.look(machine, renewed.append)
    assert renewed == []
    fresh = machine.with_chains(world.chain(machine))
    speaker.look(fresh, renewed.append)
    speaker.look(fresh, renewed.append)
    assert renewed == [fresh]


def test_a_certificate_is_renewed_in_time_and_only_then(stage: Stage) -> None:
    speaker = stage.speaker()
    first = speaker.identity
    assert speaker.interval == INTERVAL
    stage.now += RENEWAL - 1
    speaker.look(stage.machine, stage.renewed.append)
    assert stage.renewed == []
    stage.now += 1
    speaker.look(stage.machine, stage.renewed.append)
    assert stage.renewed == [speaker.identity]
    assert speaker.identity.principal == first.principal
    assert speaker.identity.chains != first.chains


def test_a_chip_that_stays_away_is_told_and_asked_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    speaker = stage.speaker()
    stage.chip.away = True
    stage.now += LIFETIME + 1
    with caplog.at_level(logging.ERROR):
        speaker.look(stage.machine, stage.renewed.append)
    assert "no chip answers" in caplog.text
    assert stage.renewed == []
    stage.chip.away = False
    speaker.look(stage.machine, stage.renewed.append)
    assert len(stage.renewed) == 1


def test_a_chip_that_does_not_certify_at_the_start_ends_it(stage: Stage) -> None:
    stage.chip.away = True
    with pytest.raises(CredentialError):
        stage.speaker()
