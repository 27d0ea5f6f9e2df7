"""`Succession`: at every moment the keys in use open, and the phase says what is left to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from btlib.home import Phase, Succession


@pytest.fixture
def rotation(tmp_path: Path) -> Succession:
    (tmp_path / "credentials").write_text("old keys")
    return Succession(tmp_path / "credentials")


def test_it_goes_from_nothing_over_next_and_old_to_nothing(rotation: Succession) -> None:
    assert rotation.phase() is Phase.NONE
    rotation.next.write_text("new keys")
    assert rotation.phase() is Phase.NEXT
    rotation.promote()
    assert rotation.phase() is Phase.OLD
    assert (rotation.file.read_text(), rotation.old.read_text()) == ("new keys", "old keys")
    rotation.finish()
    assert rotation.phase() is Phase.NONE
    assert rotation.file.read_text() == "new keys"


@pytest.mark.parametrize("broken", ["os.link", "pathlib.Path.replace"])
def test_an_interrupted_promotion_is_done_again(
    rotation: Succession, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    rotation.next.write_text("new keys")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(broken, dies)
        with pytest.raises(KeyboardInterrupt):
            rotation.promote()
    assert rotation.file.read_text() == "old keys"
    assert rotation.phase() is Phase.NEXT
    rotation.promote()
    assert (rotation.file.read_text(), rotation.old.read_text()) == ("new keys", "old keys")


def test_keys_that_were_never_used_can_be_given_up(rotation: Succession) -> None:
    rotation.next.write_text("new keys")
    rotation.cancel()
    assert rotation.phase() is Phase.NONE
    assert rotation.file.read_text() == "old keys"
