"""Opening what a home names: which mode, and what is said where it cannot be."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from btfproto.errors import FsError, StoreError
from btfproto.localfs import FsOptions
from btfproto.opening import make_domain, open_alone, open_end_to_end, open_files, open_store, open_thin, store_at
from btfproto.provider import Owner
from btfproto.store import EmbeddedStore, lock_holder
from btlib import Credentials, Identity, Kind
from btlib.home import Domain, DomainSettings, Home

ME = Owner(1000, 1000)


@pytest.fixture
def home(tmp_path: Path) -> tuple[Domain, Identity]:
    """A domain of this machine, and who it is."""
    root, machine = Credentials.generate(), Credentials.generate()
    settings = DomainSettings(root=root.public.principal, host="nas", store=Path("store"))
    domain = Home.find({"BLOCKTREE_HOME": str(tmp_path)}).add("home", settings)
    chain = make_domain(domain, root.identity(), machine.public, now=int(time.time()))
    return domain, machine.with_chains(chain).identity()


def test_alone_what_was_written_is_there_the_next_time(home: tuple[Domain, Identity]) -> None:
    domain, me = home
    first = open_alone(domain, me, domain.root_path)
    first.mkdir(first.root, "kept", 0o755, ME)
    first.shutdown()
    again = open_files(domain, me, domain.root_path.child("kept"))
    assert again.readdir(again.root, 0, 10) == []
    again.shutdown()


def test_everything_is_released_where_opening_fails(home: tuple[Domain, Identity]) -> None:
    domain, me = home
    assert domain.store is not None
    with pytest.raises(FsError) as refused:
        open_alone(domain, me, domain.root_path.child("nothing"))
    assert refused.value.kind is Kind.NOT_FOUND
    stranger = Credentials.generate().identity()
    with pytest.raises(FsError, match="bt grant"):
        open_alone(domain, stranger, domain.root_path)
    assert lock_holder(domain.store) is None


def test_a_store_in_use_by_somebody_who_does_not_serve_it_is_busy(home: tuple[Domain, Identity]) -> None:
    domain, me = home
    assert domain.store is not None
    held = EmbeddedStore(domain.store, program="btfuse")
    with pytest.raises(StoreError, match="in use by btfuse") as refused:
        open_store(domain, me)
    assert refused.value.kind is Kind.BUSY
    held.close()


def test_a_domain_is_made_by_its_own_root_only(home: tuple[Domain, Identity]) -> None:
    domain, me = home
    with pytest.raises(FsError) as refused:
        make_domain(domain, me, me.public, now=int(time.time()))
    assert refused.value.kind is Kind.INVALID


def test_without_a_server_remote_modes_say_how_to_name_one(home: tuple[Domain, Identity]) -> None:
    domain, me = home
    for opened in (open_thin, open_end_to_end):
        with pytest.raises(FsError, match="--server HOST:PORT") as refused:
            opened(domain, me, domain.root_path)
        assert refused.value.kind is Kind.INVALID


def test_a_server_that_is_away_is_named(home: tuple[Domain, Identity], tmp_path: Path) -> None:
    domain, me = home
    endpoint = f"unix:{tmp_path}/nobody"
    client = store_at(endpoint, me, domain.server_path, patience=0.0)
    with pytest.raises(StoreError) as refused:
        client.status()
    client.close()
    assert refused.value.kind is Kind.UNREACHABLE
    assert endpoint in str(refused.value)


def test_options_reach_the_file_system(home: tuple[Domain, Identity]) -> None:
    domain, me = home
    fs = open_files(domain, me, domain.root_path, options=FsOptions(read_only=True))
    with pytest.raises(FsError) as refused:
        fs.mkdir(fs.root, "a", 0o755, ME)
    assert refused.value.kind is Kind.READ_ONLY
    fs.shutdown()
