"""The home: where it is found, what stands in it, and what it says when something is wrong."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from btlib.errors import PathError
from btlib.exits import ExitCode, exit_code
from btlib.home import (
    ConfigError,
    Domain,
    DomainSettings,
    Home,
    HomeError,
    check_petname,
    find_passphrase,
    make_private_directory,
    read_passphrase_file,
)
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.principals import Principal
from hypothesis import given
from hypothesis import strategies as st

ROOT = Principal(b"\1" * 32)
OTHER = Principal(b"\2" * 32)
SETTINGS = DomainSettings(root=ROOT, host="nas", store=Path("store"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.find({"BLOCKTREE_HOME": str(tmp_path / "bt")})


@pytest.fixture
def domain(home: Home) -> Domain:
    return home.add("home", SETTINGS)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Finding it


def test_blocktree_home_holds_configuration_and_data(tmp_path: Path) -> None:
    home = Home.find({"BLOCKTREE_HOME": str(tmp_path), "HOME": "/elsewhere", "XDG_CONFIG_HOME": "/x"})
    assert (home.config, home.data) == (tmp_path, tmp_path / "data")


def test_without_it_the_xdg_directories_are_used() -> None:
    home = Home.find({"HOME": "/u", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"})
    assert (home.config, home.data) == (Path("/c/blocktree"), Path("/d/blocktree"))


@pytest.mark.parametrize("ignored", ["", "relative/path"])
def test_an_empty_or_relative_xdg_directory_is_ignored(ignored: str) -> None:
    home = Home.find({"HOME": "/u", "XDG_CONFIG_HOME": ignored, "XDG_DATA_HOME": ignored})
    assert (home.config, home.data) == (Path("/u/.config/blocktree"), Path("/u/.local/share/blocktree"))


def test_without_any_home_the_error_names_the_variables() -> None:
    with pytest.raises(HomeError, match="neither BLOCKTREE_HOME, XDG_CONFIG_HOME nor HOME is set"):
        Home.find({})


def test_finding_a_home_creates_nothing(home: Home) -> None:
    assert home.domains() == []
    assert not home.config.exists()


# Adding and finding domains


def test_an_added_domain_is_found_by_petname_by_root_and_as_the_only_one(home: Home, domain: Domain) -> None:
    assert home.domain("home") == home.domain(ROOT) == home.domain(str(ROOT)) == home.domain() == domain


def test_directories_and_files_are_private_whatever_the_umask_says(home: Home) -> None:
    before = os.umask(0)
    try:
        domain = home.add("home", SETTINGS)
    finally:
        os.umask(before)
    assert mode(domain.directory) == mode(home.config) == 0o700
    assert mode(domain.settings_file) == 0o600


def test_settings_come_back_as_they_were_written(home: Home) -> None:
    settings = DomainSettings(
        root=ROOT,
        host='ha"us\\é\x7f',
        store=Path("/srv/store"),
        server="[::1]:7464",
        server_path=BlockPath.parse(f"/{ROOT}/hosts/nas/btfsd"),
    )
    home.add("home", settings)
    assert home.domain("home").settings == settings


def test_a_petname_is_given_once(home: Home, domain: Domain) -> None:
    with pytest.raises(HomeError, match="there is a domain called home already") as caught:
        home.add("home", DomainSettings(root=OTHER, host="x"))
    assert caught.value.kind is Kind.EXISTS
    assert home.domain("home") == domain


def test_domains_are_listed_by_petname(home: Home) -> None:
    for petname in ("work", "home"):
        home.add(petname, SETTINGS)
    assert [domain.petname for domain in home.domains()] == ["home", "work"]


def test_an_unknown_petname_names_the_known_ones_and_the_next_command(home: Home, domain: Domain) -> None:
    with pytest.raises(HomeError, match=r"no domain is called 'hone' here \(known: home\)") as caught:
        home.domain("hone")
    assert "bt status" in str(caught.value)


def test_in_an_empty_home_the_error_says_how_to_begin(home: Home) -> None:
    with pytest.raises(HomeError, match="bt init"):
        home.domain()


def test_with_several_domains_one_must_be_named(home: Home) -> None:
    home.add("a", SETTINGS)
    home.add("b", SETTINGS)
    with pytest.raises(HomeError, match="several domains here: a, b"):
        home.domain()


def test_an_unknown_root_is_named(home: Home, domain: Domain) -> None:
    with pytest.raises(HomeError, match=str(OTHER)):
        home.domain(OTHER)


def test_a_domain_that_was_begun_is_not_there_until_it_is_admitted(home: Home) -> None:
    directory = home.begin("home")
    (directory / "credentials").write_bytes(b"keys")
    (home.pending_domain("home", SETTINGS).data / "store").mkdir(parents=True)
    assert (home.petnames(), home.pending()) == ([], ["home"])
    domain = home.admit(home.pending_domain("home", SETTINGS))
    assert (home.petnames(), home.pending()) == (["home"], [])
    assert domain.credentials_file.read_bytes() == b"keys"
    assert home.domain("home") == domain


def test_a_begun_petname_is_taken_and_the_error_says_how_to_give_it_up(home: Home) -> None:
    directory = home.begin("home")
    with pytest.raises(HomeError, match=f"rm -r {directory}"):
        home.begin("home")


# A domain's paths


def test_a_domain_knows_its_paths(domain: Domain) -> None:
    assert str(domain.host_path) == f"/{ROOT}/hosts/nas"
    assert str(domain.server_path) == f"/{ROOT}/hosts/nas/btfsd"
    assert domain.store == domain.data / "store"


def test_a_domain_whose_bytes_lie_elsewhere_has_no_store(home: Home) -> None:
    domain = home.add("home", DomainSettings(root=ROOT, host="lap", server="nas:7464"))
    assert domain.store is None
    assert domain.server == "nas:7464"


# Resolving what a user types


@pytest.mark.parametrize(
    ("text", "names"),
    [("home:", ()), ("home:/", ()), ("home:/a/b", ("a", "b")), ("home:a/b/", ("a", "b")), (f"/{ROOT}/a", ("a",))],
)
def test_petnames_and_full_paths_resolve(home: Home, domain: Domain, text: str, names: tuple[str, ...]) -> None:
    found, path = home.resolve(text)
    assert found == domain
    assert (path.root, path.names) == (ROOT, names)


@pytest.mark.parametrize("text", ["photos", "./photos", "", "Home:/x", "../x:y", ":/x"])
def test_what_names_no_domain_is_refused(home: Home, domain: Domain, text: str) -> None:
    with pytest.raises(HomeError):
        home.resolve(text)


@pytest.mark.parametrize("text", ["home:/a/../b", "home:/a//b", "home:/./a", "home:/" + "x" * 256, "home:/a\0"])
def test_names_that_are_no_names_are_refused(home: Home, domain: Domain, text: str) -> None:
    with pytest.raises(PathError):
        home.resolve(text)


# Petnames


@pytest.mark.parametrize("petname", ["home", "a", "9", "my.nas_2-x", "x" * 32])
def test_good_petnames(petname: str) -> None:
    assert check_petname(petname) == petname


@pytest.mark.parametrize("petname", ["", ".x", "-x", "Home", "a/b", "a:b", "bt1x", "x" * 33, "ä", "a\n", ".."])
def test_bad_petnames(petname: str) -> None:
    with pytest.raises(HomeError, match="is no petname"):
        check_petname(petname)


@given(st.text())
def test_any_text_is_a_petname_or_a_home_error(text: str) -> None:
    try:
        check_petname(text)
    except HomeError:
        return
    assert Path("/d", text).parent == Path("/d")


# A damaged settings file


GOOD = f'format = 1\nroot = "{ROOT}"\nhost = "nas"\n'


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("format = ", "is not TOML"),
        ("", "`format`"),
        (f'format = 1\nroot = "{ROOT}"\n', "`host`"),
        ('format = 1\nroot = 7\nhost = "nas"\n', "`root`"),
        (GOOD.replace("bt1", "bt2"), "key `root`"),
        (GOOD.replace("nas", "a/b"), "key `host`"),
        (GOOD + 'colour = "red"\n', "`colour`"),
        (GOOD.replace("= 1", "= 2"), "format is 2"),
        (GOOD + 'server_path = "nas"\n', "key `server_path`"),
        (GOOD + f'server_path = "/{OTHER}/hosts/nas/btfsd"\n', "name different roots"),
    ],
)
def test_a_damaged_settings_file_is_named_with_its_key(
    home: Home, domain: Domain, content: str, complaint: str
) -> None:
    domain.settings_file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        home.domain("home")
    assert str(domain.settings_file) in str(caught.value)
    assert complaint in str(caught.value)


def test_settings_that_are_not_text_are_refused(home: Home, domain: Domain) -> None:
    domain.settings_file.write_bytes(b"format = 1\n\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        home.domain("home")


def test_a_missing_settings_file_is_named(home: Home, domain: Domain) -> None:
    domain.settings_file.unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        home.domain("home")


def test_every_truncation_is_refused_or_reads_as_something_shorter(home: Home, domain: Domain) -> None:
    whole = domain.settings_file.read_bytes()
    for length in range(len(whole) - 1):
        domain.settings_file.write_bytes(whole[:length])
        try:
            home.domain("home")
        except ConfigError:
            continue
        assert b"host" in whole[:length]


# Directories


def test_private_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    make_private_directory(tmp_path / "a" / "b")
    make_private_directory(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


# Passphrases


def passphrase_file(path: Path, content: bytes, permissions: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(permissions)
    return path


def test_a_passphrase_file_wins_over_the_environment_and_that_over_the_prompt(tmp_path: Path) -> None:
    file = passphrase_file(tmp_path / "p", b"from file\nsecond line\n")
    environ = {"BLOCKTREE_PASSPHRASE": "from environment"}
    assert find_passphrase(environ, file, lambda: "typed") == "from file"
    assert find_passphrase(environ, None, lambda: "typed") == "from environment"
    assert find_passphrase({}, None, lambda: "typed") == "typed"


def test_without_any_passphrase_the_error_says_how_to_give_one() -> None:
    with pytest.raises(HomeError, match="--passphrase-file") as caught:
        find_passphrase({})
    assert caught.value.kind is Kind.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("content", "permissions", "complaint"),
    [
        (b"x\n", 0o644, "chmod 600"),
        (b"\nx\n", 0o600, "is empty"),
        (b"", 0o600, "is empty"),
        (b"\xff\n", 0o600, "not UTF-8"),
        (b"x" * 5000, 0o600, "no passphrase file"),
    ],
)
def test_what_is_no_passphrase_file_is_refused(
    tmp_path: Path, content: bytes, permissions: int, complaint: str
) -> None:
    with pytest.raises(HomeError, match=complaint) as caught:
        read_passphrase_file(passphrase_file(tmp_path / "p", content, permissions))
    assert "xxxx" not in str(caught.value)


def test_a_missing_passphrase_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="nowhere cannot be read: No such file"):
        read_passphrase_file(tmp_path / "nowhere")


# Exit codes


def test_every_kind_has_an_exit_code_and_none_means_success() -> None:
    assert all(exit_code(kind) is not ExitCode.OK for kind in Kind)


DOCUMENTED = {
    Kind.NOT_FOUND: 1,
    Kind.INVALID: 2,
    Kind.UNAUTHENTICATED: 3,
    Kind.UNREACHABLE: 4,
    Kind.EXPIRED: 5,
    Kind.ROLLBACK: 6,
    Kind.BUSY: 7,
}


@pytest.mark.parametrize(("kind", "code"), DOCUMENTED.items())
def test_exit_codes_are_the_documented_ones(kind: Kind, code: int) -> None:
    assert exit_code(kind) == code
