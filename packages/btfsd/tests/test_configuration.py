"""The configuration: what is read from where, and how every problem is named."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from btfsd._configuration import known_keys, line_of, load_configuration, variable
from btfsd._settings import Settings
from btfsd.errors import ConfigurationError
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Machine

GOOD = """\
domain = "home"
listen = ["0.0.0.0:7464", "[::]:7464"]

[limits]
max_links = 100
grace_seconds = 2

[log]
level = "debug"
json = true
"""


def problems(text: str, tmp_path: Path, environ: dict[str, str] | None = None) -> list[str]:
    file = tmp_path / "btfsd.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_configuration(file, environ or {})
    return [problem.replace(f"{file}", "FILE") for problem in refused.value.problems]


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "btfsd.toml"
    file.write_text(GOOD)
    loaded = load_configuration(file, {})
    assert loaded.settings.listen == ("0.0.0.0:7464", "[::]:7464")
    assert (loaded.settings.limits.max_links, loaded.settings.limits.max_calls) == (100, 1024)
    assert loaded.settings.limits.grace_seconds == 2.0
    assert (loaded.settings.log.level, loaded.settings.log.json) == ("debug", True)
    assert loaded.sources["limits", "max_links"] == f"{file}, line 5"


def test_without_a_file_everything_has_its_default() -> None:
    assert load_configuration(None, {}).settings == Settings()


def test_the_environment_overrides_the_file_and_the_command_line_both(tmp_path: Path) -> None:
    file = tmp_path / "btfsd.toml"
    file.write_text(GOOD)
    environ = {"BTFSD_LIMITS_MAX_LINKS": "7", "BTFSD_LISTEN": "a:1, b:2", "BTFSD_LOG_JSON": "no", "OTHER": "x"}
    loaded = load_configuration(file, environ, {("listen",): ["c:3"]})
    assert loaded.settings.limits.max_links == 7
    assert loaded.settings.log.json is False
    assert loaded.settings.listen == ("c:3",)
    assert loaded.sources["listen",] == "--listen"


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "btfsd.toml"
    file.write_text(GOOD)
    assert load_configuration(None, {"BTFSD_CONFIG": str(file)}).settings.domain == "home"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("domian = 'home'", "FILE, line 1: there is no key `domian`; did you mean `domain`?"),
        ("[limits]\nmax_link = 3", "FILE, line 2: there is no key `limits.max_link`; did you mean `limits.max_links`?"),
        ("\n[limitz]\nmax_links = 3", "FILE, line 2: there is no key `limitz`; did you mean `limits`?"),
        ("limits.max_links = 'many'", "FILE, line 1: key `limits.max_links`: expected `int`, got `str`, got 'many'"),
        ("[limits]\nmax_links = 0", "FILE, line 2: key `limits.max_links`: expected `int` >= 1, got 0"),
        ("[log]\nlevel = 'loud'", "FILE, line 2: key `log.level`: Invalid enum value 'loud', got 'loud'"),
        ("home = 'relative'", "FILE, line 1: key `home`: expected an absolute path, got 'relative'"),
        ("listen = 'host:1'", "FILE, line 1: key `listen`: expected `array`, got `str`, got 'host:1'"),
        ("listen = ['nowhere']", "FILE, line 1: key `listen`: 'nowhere' is no endpoint"),
        ("listen = ['::1:80']", "FILE, line 1: key `listen`: '::1:80' is no endpoint"),
        ("services = true", "FILE, line 1: there is no key `services`"),
        ("[limits]\nmax_links = 1\nmax_links = 2", "FILE: no TOML: Cannot overwrite a value"),
        ("= 3", "FILE: no TOML: Invalid"),
    ],
)
def test_a_problem_is_named_with_key_and_line(text: str, problem: str, tmp_path: Path) -> None:
    (found,) = problems(text, tmp_path)
    assert found.startswith(problem)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    text = "nonsense = 1\n[limits]\nmax_links = -1\n[log]\njson = 'x'\n"
    found = problems(text, tmp_path, {"BTFSD_LIMITS_MAX_LOCKS": "few", "BTFSD_LISTENN": "x:1"})
    assert len(found) == 5
    assert any(problem.startswith("BTFSD_LIMITS_MAX_LOCKS: key `limits.max_locks`") for problem in found)
    assert any("BTFSD_LISTENN: there is no such setting; did you mean `BTFSD_LISTEN`?" in problem for problem in found)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_configuration(tmp_path / "none.toml", {})


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "btfsd.toml"
    file.write_bytes(b"domain = '\xff'")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_configuration(file, {})


@given(st.text(max_size=200))
def test_no_text_ends_in_anything_but_settings_or_a_named_problem(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_configuration(file, {})
    except ConfigurationError as error:
        problem = str(error)
    else:
        problem = "none"
    assert problem


def test_the_line_of_a_key_is_found_however_it_is_written() -> None:
    assert line_of("[limits] # these\n  max_links=3", ("limits", "max_links")) == 2
    assert line_of("limits.max_links = 3", ("limits", "max_links")) == 1
    assert line_of("limits = {max_links = 3}", ("limits", "max_links")) is None


def test_every_key_has_a_meaning_and_a_variable_of_its_own() -> None:
    keys = known_keys()
    assert len({variable(key) for key in keys}) == len(keys)


def test_check_accepts_a_good_file_and_says_what_it_serves(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "btfsd.toml"
    file.write_text(GOOD)
    code, out, _ = machine.run("config", "check", "--config", str(file))
    assert code == 0
    assert str(machine.domain.root) in out


def test_check_refuses_a_bad_file_with_2_and_a_line_for_each_problem(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "btfsd.toml"
    file.write_text("domian = 'home'\n[limits]\nmax_links = 0\n")
    code, _, err = machine.run("config", "check", "--config", str(file))
    assert code == 2
    lines = err.splitlines()
    assert lines[0].startswith(f"btfsd: {file}, line 1: there is no key `domian`")
    assert lines[1].startswith(f"btfsd: {file}, line 3: key `limits.max_links`")
    assert "Traceback" not in err


def test_the_daemon_itself_refuses_it_as_well(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "btfsd.toml"
    file.write_text("[log]\nlevel = 3\n")
    code, _, err = machine.run("--config", str(file))
    assert code == 2
    assert "line 2: key `log.level`" in err


def test_show_prints_toml_that_reads_back_as_the_same_settings(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "btfsd.toml"
    file.write_text(GOOD)
    _, out, _ = machine.run("config", "show", "--config", str(file))
    again = tmp_path / "again.toml"
    again.write_text(out)
    assert load_configuration(again, {}).settings == load_configuration(file, {}).settings
    assert tomllib.loads(out)["limits"]["max_links"] == 100
    assert "# default" in out


def test_show_prints_json_too(machine: Machine) -> None:
    _, out, _ = machine.run("config", "show", "--json", environ={"BTFSD_LIMITS_MAX_LINKS": "9"})
    assert json.loads(out)["limits"]["max_links"] == 9
