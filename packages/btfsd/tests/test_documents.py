"""The user's page says what the settings say."""

from __future__ import annotations

import json
import re
from pathlib import Path

from btfsd import Settings, load_configuration
from btfsd._configuration import dotted, known_keys
from btlib.exits import ExitCode

PAGE = Path(__file__).parents[3] / "docs" / "btfsd.md"


def test_the_reference_names_every_key_with_its_default_and_meaning() -> None:
    expected = []
    for key, info in known_keys().items():
        holder = Settings() if len(key) == 1 else getattr(Settings(), key[0])
        value = getattr(holder, key[-1])
        default = "–" if value is None else f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"
        meaning = next(mark.description for mark in info.type.__metadata__ if mark.description)
        expected.append(f"| `{dotted(key)}` | {default} | {meaning} |")
    found = [line for line in PAGE.read_text().splitlines() if re.match(r"\| `[a-z_.]+` \|", line)]
    assert found == expected


def test_its_example_is_a_good_configuration(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = tmp_path / "btfsd.toml"
    file.write_text(example)
    assert load_configuration(file, {}).settings.limits.max_links == 1000


def test_its_exit_codes_are_those_of_the_programs() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d) \|", PAGE.read_text(), re.MULTILINE)}
    assert codes <= {int(code) for code in ExitCode}
