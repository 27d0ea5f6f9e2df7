"""`Home`: a user's local state. Which domains there are, under which petnames, and where their files lie.

    <config>/domains/<petname>/domain.toml         see `_settings`
    <config>/domains/<petname>/credentials         this machine's keys, encrypted
    <config>/domains/<petname>/root-credentials    the root's keys, only where the domain was made
    <config>/pending/<petname>/…                   a domain that is being made, or joined (until the answer is there)
    <data>/domains/<petname>/store/                the embedded store
    <data>/domains/<petname>/pins                  newest versions seen

`<config>` and `<data>` are `$BLOCKTREE_HOME` and `$BLOCKTREE_HOME/data` where that is set, else
`$XDG_CONFIG_HOME/blocktree` and `$XDG_DATA_HOME/blocktree` (`~/.config` and `~/.local/share` by default). Petnames are
local: they never stand in anything signed, and two machines may call one domain differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..kinds import Kind
from ..paths import BlockPath
from ..principals import Principal
from ._credentials import TCTI_VARIABLE
from ._directories import make_private_directory, sync_directory
from ._domain import Domain
from ._errors import HomeError
from ._settings import DomainSettings, read_settings

PETNAME_LIMIT = 32  #: characters; a petname is typed before every path
_PETNAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PREFIX = "bt1"  #: how a principal's text begins; no petname does, so that none is ever taken for a principal


def check_petname(text: str) -> str:
    """Give the petname back, or raise HomeError: `a-z 0-9 . _ -`, a letter or digit first, not beginning with bt1."""
    if len(text) > PETNAME_LIMIT or not _PETNAME.fullmatch(text):
        raise HomeError(
            f"{text!r} is no petname: one has 1 to {PETNAME_LIMIT} characters out of a-z 0-9 . _ - and begins with "
            "a letter or digit",
        )
    if text.startswith(_PREFIX):
        raise HomeError(f"{text!r} is no petname: a name that begins with {_PREFIX} would look like a principal")
    return text


@dataclass(frozen=True)
class Home:
    """Where a user's domains are kept. Finding one creates nothing; `add` does."""

    config: Path
    data: Path
    tcti: str | None = None

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Home:
        """The home that the environment names; pass `os.environ`."""
        tcti = environ.get(TCTI_VARIABLE) or None
        if explicit := environ.get("BLOCKTREE_HOME"):
            path = Path(explicit).absolute()
            return cls(config=path, data=path / "data", tcti=tcti)
        return cls(
            config=_xdg(environ, "XDG_CONFIG_HOME", ".config") / "blocktree",
            data=_xdg(environ, "XDG_DATA_HOME", ".local/share") / "blocktree",
            tcti=tcti,
        )

    def petnames(self) -> list[str]:
        """The petnames in use, sorted; reads no settings, so it works while a file is damaged."""
        directory = self.config / "domains"
        if not directory.is_dir():
            return []
        return sorted(entry.name for entry in directory.iterdir() if _PETNAME.fullmatch(entry.name))

    def domains(self) -> list[Domain]:
        """All domains, by petname; raises ConfigError at the first damaged settings file."""
        return [self._load(petname) for petname in self.petnames()]

    def domain(self, name: str | Principal | None = None) -> Domain:
        """The domain of this petname, root principal (or its text), or without a name the only one that there is."""
        if name is None:
            return self._only()
        if isinstance(name, str) and not name.startswith(_PREFIX):
            return self._by_petname(name)
        return self._by_root(name if isinstance(name, Principal) else Principal.parse(name))

    def resolve(self, text: str) -> tuple[Domain, BlockPath]:
        """Read `home:/photos`, `home:` or `/bt1…/photos` as a domain and a path in it."""
        if text.startswith("/"):
            path = BlockPath.parse(text.rstrip("/") or "/")
            return self.domain(path.root), path
        petname, colon, rest = text.partition(":")
        if not colon:
            raise HomeError(f"{text!r} is not a path in a domain: write PETNAME:/PATH, or /bt1…/PATH")
        domain = self.domain(check_petname(petname))
        names = rest.strip("/")
        return domain, BlockPath(domain.root, tuple(names.split("/")) if names else ())

    def add(self, petname: str, settings: DomainSettings) -> Domain:
        """Make a domain known in one step. Raises HomeError where the petname is taken."""
        self.begin(petname)
        return self.admit(self.pending_domain(petname, settings))

    def begin(self, petname: str) -> Path:
        """Make the pending directory of a domain that is about to be made or joined, and return it.

        Credentials go there before `admit`, so that a domain either is there with its keys or is not there at all.
        Raises HomeError where the petname is taken, by a domain or by another beginning.
        """
        final = self.config / "domains" / check_petname(petname)
        if final.exists():
            raise HomeError(
                f"there is a domain called {petname} already, in {final}",
                kind=Kind.EXISTS,
                hint="choose another petname",
            )
        directory = self.pending_directory(petname)
        if directory.exists():
            raise HomeError(
                f"a domain called {petname} is being made or joined already, in {directory}",
                kind=Kind.EXISTS,
                hint=f"finish that, or remove the directory if it was given up: rm -r {directory}",
            )
        make_private_directory(directory)
        return directory

    def admit(self, pending: Domain) -> Domain:
        """Turn a pending domain into a domain of this home, durably and in one step."""
        final = self._place("domains", pending.petname, pending.settings)
        make_private_directory(final.data)
        make_private_directory(final.directory.parent)
        pending.save()
        pending.directory.rename(final.directory)
        sync_directory(final.directory.parent)
        sync_directory(pending.directory.parent)
        return final

    def pending_domain(self, petname: str, settings: DomainSettings) -> Domain:
        """A domain that is not admitted yet: its directory is the pending one, its data directory the final one."""
        final = self._place("domains", petname, settings)
        return replace(final, directory=self.pending_directory(petname))

    def pending_directory(self, petname: str) -> Path:
        """Where `begin` keeps what `admit` will move."""
        return self.config / "pending" / check_petname(petname)

    def pending(self) -> list[str]:
        """The petnames under which enrolments wait, sorted."""
        directory = self.config / "pending"
        return sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else []

    def _place(self, state: str, petname: str, settings: DomainSettings) -> Domain:
        return Domain(
            petname=petname,
            settings=settings,
            directory=self.config / state / petname,
            data=self.data / state / petname,
            tcti=self.tcti,
        )

    def _load(self, petname: str) -> Domain:
        return self._place("domains", petname, read_settings(self.config / "domains" / petname / "domain.toml"))

    def _by_petname(self, petname: str) -> Domain:
        if petname not in self.petnames():
            raise HomeError(f"no domain is called {petname!r} here ({self._known()})", hint=self._way_in())
        return self._load(petname)

    def _by_root(self, root: Principal) -> Domain:
        for domain in self.domains():
            if domain.root == root:
                return domain
        raise HomeError(f"this machine belongs to no domain of root {root} ({self._known()})", hint=self._way_in())

    def _only(self) -> Domain:
        domains = self.petnames()
        if len(domains) == 1:
            return self._load(domains[0])
        if domains:
            raise HomeError(f"there are several domains here: {', '.join(domains)}", hint="name one of them")
        raise HomeError(f"there is no domain here yet, in {self.config}", hint=self._way_in())

    def _known(self) -> str:
        petnames = self.petnames()
        return f"known: {', '.join(petnames)}" if petnames else f"none is known in {self.config}"

    def _way_in(self) -> str:
        return "see: bt status" if self.petnames() else "make one with: bt init, or join one with: bt enroll request"


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    # The XDG base directory specification: a relative path is to be ignored.
    if (value := environ.get(variable)) and Path(value).is_absolute():
        return Path(value)
    if not (user := environ.get("HOME")):
        raise HomeError(f"neither BLOCKTREE_HOME, {variable} nor HOME is set", hint="set BLOCKTREE_HOME")
    return Path(user) / default
