"""A real agent process: who may ask it, what it does, what it keeps to itself, and how it forgets."""

from __future__ import annotations

import os
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from btlib import Credentials, FileCredentialStore, Label, Suite
from btlib.agent import AgentClient, AgentKeys, Times, agent_socket, identity_from_agent, start_agent
from btlib.agent._messages import GetStatus, Status, decode_reply, encode_request
from btlib.agent._wire import receive
from btlib.errors import CredentialError, SealError
from btlib.home import Domain, DomainSettings, Home
from btlib.kinds import Kind
from btlib.testing import QUICK_COST, check_opener, check_signer, make_domain_identities, make_keys
from btlib.unlocking import unlock_domain

PASSPHRASE = "canary passphrase of the agent's test"
SEED = b"canary seed, of thirty-two bytes"
LONG = Times(idle=600, longest=600)
PATIENCE = 20.0  #: seconds for a process to do what it will do at once on an idle machine


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


class Setting:
    """A home with a domain, and where its agent would listen."""

    def __init__(self, top: Path, suite: Suite = Suite.ED25519_X25519) -> None:
        self.environ = {**os.environ, "BLOCKTREE_HOME": str(top)}
        self.environ.pop("BLOCKTREE_PASSPHRASE", None)
        self.home = Home.find(self.environ)
        self.place = agent_socket(self.environ)
        self.client = AgentClient(self.place)
        self.credentials = Credentials(suite=suite, seed=SEED).with_chains(*make_domain_identities("x")["x"].chains)
        settings = DomainSettings(root=make_keys("root").public.principal, host="nas")
        self.domain: Domain = self.home.add("home", settings)
        FileCredentialStore(self.domain.credentials_file, QUICK_COST).save(self.credentials, PASSPHRASE)

    def start(self, times: Times = LONG) -> int:
        """Its process id."""
        assert start_agent(self.place, self.environ, times)
        return self.client.status().pid

    def unlocked(self, times: Times = LONG) -> int:
        pid = self.start(times)
        self.client.unlock("home", PASSPHRASE)
        return pid


@pytest.fixture
def top() -> Iterator[Path]:
    """A short name: a Unix socket's path has at most 107 bytes, and pytest's are longer."""
    with tempfile.TemporaryDirectory(prefix="bt-") as name:
        yield Path(name) / "home"


@pytest.fixture
def setting(top: Path) -> Iterator[Setting]:
    made = Setting(top)
    yield made
    if made.client.listens():
        made.client.stop()
        eventually(lambda: not made.place.exists())


@pytest.mark.parametrize("suite", Suite)
def test_its_keys_keep_the_promises_of_signers_and_openers(top: Path, suite: Suite) -> None:
    setting = Setting(top, suite)
    setting.unlocked()
    try:
        identity = setting.client.identity(setting.credentials.public.principal)
        assert (identity.public, identity.chains) == (setting.credentials.public, setting.credentials.chains)
        check_signer(identity.signer)
        check_opener(identity.opener)
    finally:
        setting.client.stop()


def test_what_is_started_twice_is_one_agent(setting: Setting) -> None:
    pid = setting.start()
    assert not start_agent(setting.place, setting.environ, LONG)
    assert setting.client.status().pid == pid


def test_many_commands_at_once_start_one_agent(setting: Setting) -> None:
    made: list[bool] = []
    threads = [
        threading.Thread(target=lambda: made.append(start_agent(setting.place, setting.environ, LONG)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]


def test_its_socket_and_directory_are_its_users_alone(setting: Setting) -> None:
    setting.start()
    assert stat.S_IMODE(setting.place.stat().st_mode) == 0o600
    assert stat.S_IMODE(setting.place.parent.stat().st_mode) == 0o700


def test_a_wrong_passphrase_unlocks_nothing(setting: Setting) -> None:
    setting.start()
    with pytest.raises(CredentialError, match="not the passphrase") as caught:
        setting.client.unlock("home", "wrong")
    assert caught.value.kind is Kind.UNAUTHENTICATED
    with pytest.raises(CredentialError, match="no domain is called"):
        setting.client.unlock("work", PASSPHRASE)
    assert setting.client.status().held == []
    assert identity_from_agent(setting.environ, setting.credentials.public.principal) is None


def test_locking_forgets_the_keys_in_a_new_memory_and_goes_on_listening(setting: Setting) -> None:
    pid = setting.unlocked()
    keys = setting.client.identity(setting.credentials.public.principal).signer
    before = memory_started(pid)
    setting.client.lock()
    with pytest.raises(CredentialError, match="does not hold the keys"):
        keys.sign(Label.COMMIT, b"")
    status = setting.client.status()
    assert (status.pid, status.held, status.left) == (pid, [], None)
    assert memory_started(pid) != before
    setting.client.unlock("home", PASSPHRASE)
    keys.sign(Label.COMMIT, b"")


def memory_started(pid: int) -> str:
    """Where the program's stack begins: the kernel chooses anew at every exec."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[25]


def test_stopping_ends_the_process_and_takes_its_socket_away(setting: Setting) -> None:
    pid = setting.unlocked()
    keys = setting.client.identity(setting.credentials.public.principal).signer
    setting.client.stop()
    eventually(lambda: not setting.place.exists())
    eventually(lambda: not alive(pid))
    with pytest.raises(CredentialError, match="bt agent start") as caught:
        keys.sign(Label.COMMIT, b"")
    assert caught.value.kind is Kind.UNREACHABLE


def test_a_terminated_agent_takes_its_socket_away_and_a_killed_ones_place_is_taken(setting: Setting) -> None:
    os.kill(setting.unlocked(), signal.SIGTERM)
    eventually(lambda: not setting.place.exists())
    pid = setting.unlocked()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid))
    assert setting.place.exists()
    assert identity_from_agent(setting.environ, setting.credentials.public.principal) is None
    assert setting.unlocked() != pid


def test_an_agent_that_nobody_can_reach_any_more_ends(setting: Setting) -> None:
    """A session's runtime directory goes away at its end, and with it the socket."""
    pid = setting.unlocked()
    setting.place.unlink()
    eventually(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("times", [Times(idle=1, longest=600), Times(idle=600, longest=1)], ids=["idle", "longest"])
def test_keys_go_by_themselves_when_their_time_is_over(setting: Setting, times: Times) -> None:
    pid = setting.unlocked(times)
    before = memory_started(pid)
    eventually(lambda: memory_started(pid) != before)
    assert setting.client.status().held == []


def test_another_user_is_not_answered(setting: Setting) -> None:
    if os.geteuid():
        pytest.skip("needs root, to become another user")
    setting.unlocked()
    # What no umask and no mode would keep out: the socket open to all, and the way to it.
    setting.place.chmod(0o666)
    for directory in (setting.place.parent, setting.home.config, setting.home.config.parent):
        directory.chmod(0o711)
    assert ask_as(0, setting.place).startswith(b"connected; answered")
    assert ask_as(65534, setting.place) == b"connected; "


def ask_as(uid: int, place: Path) -> bytes:
    """What a process of this user gets for asking the agent for its status."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(place))
                os.write(writer, b"connected; ")
                connection.sendall(encode_request(GetStatus()))
                os.write(writer, b"answered" if connection.recv(1) else b"")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        os.waitpid(child, 0)
        return said.read()


def test_a_client_trusts_no_agent_of_another_user(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    setting.unlocked()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4711)
        with pytest.raises(CredentialError, match="another user's"):
            setting.client.status()


def test_clients_that_say_nothing_half_of_it_or_nonsense_hold_nobody_up(setting: Setting) -> None:
    setting.unlocked()
    silent = socket.socket(socket.AF_UNIX)
    with silent, socket.socket(socket.AF_UNIX) as nonsense, socket.socket(socket.AF_UNIX) as half:
        for connection in (silent, nonsense, half):
            connection.connect(str(setting.place))
        nonsense.sendall(b"\xff" * 10)
        half.sendall(encode_request(GetStatus())[:3])
        half.shutdown(socket.SHUT_WR)
        assert isinstance(setting.client.status(), Status)
        assert "cannot be read" in str(decode_reply(receive(nonsense)))


def test_it_holds_no_secret_where_others_could_find_it(setting: Setting) -> None:
    setting.environ["CANARY_OF_THE_STARTER"] = PASSPHRASE
    pid = setting.unlocked()
    process = Path(f"/proc/{pid}")
    for name in ("cmdline", "environ"):
        assert b"canary" not in (process / name).read_bytes().lower()
    kept = [file for file in setting.home.config.rglob("*") if file.is_file()]
    assert [file for file in kept if b"canary" in file.read_bytes()] == []
    opened = [str(entry.readlink()) for entry in (process / "fd").iterdir()]
    assert [name for name in opened if not name.startswith(("socket:", "/dev/null"))] == []


def test_memory_is_locked_where_it_may_be_and_the_status_says_so(setting: Setting) -> None:
    pid = setting.unlocked()
    locked = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmLck:"))
    assert (int(locked.split()[1]) > 10_000) == setting.client.status().memory_locked


def test_the_agent_is_hardened(setting: Setting) -> None:
    """Of a process that is not dumpable, /proc belongs to root; as root that says nothing, its limits do."""
    pid = setting.unlocked()
    assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
    assert "Max core file size        0                    0 " in Path(f"/proc/{pid}/limits").read_text()


def test_unlocking_a_domain_asks_the_agent_before_anybody(setting: Setting) -> None:
    def prompt() -> str:
        raise AssertionError("asked although the agent holds the keys")

    setting.unlocked()
    identity = unlock_domain(setting.domain, setting.environ, prompt=prompt)
    assert isinstance(identity.signer, AgentKeys)
    setting.client.lock()
    assert not isinstance(unlock_domain(setting.domain, setting.environ, prompt=lambda: PASSPHRASE).signer, AgentKeys)


def test_a_passphrase_given_for_the_run_goes_before_the_agent(setting: Setting, tmp_path: Path) -> None:
    setting.unlocked()
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_text(PASSPHRASE)
    assert not isinstance(unlock_domain(setting.domain, setting.environ, file).signer, AgentKeys)
    environ = {**setting.environ, "BLOCKTREE_PASSPHRASE": PASSPHRASE}
    assert not isinstance(unlock_domain(setting.domain, environ).signer, AgentKeys)


def test_its_keys_say_so_where_a_seal_does_not_open(setting: Setting) -> None:
    setting.unlocked()
    opener = setting.client.identity(setting.credentials.public.principal).opener
    with pytest.raises(SealError, match="does not open"):
        opener.open(Label.READCAP, b"", b"nonsense")


def test_a_place_that_is_too_long_is_refused_with_what_to_do(setting: Setting) -> None:
    with pytest.raises(CredentialError, match="XDG_RUNTIME_DIR"):
        start_agent(Path("/tmp") / ("x" * 120) / "agent.sock", setting.environ, LONG)


def test_the_place_is_in_the_runtime_directory_unless_a_home_is_named(top: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/1000", "HOME": "/home/alice"}
    assert agent_socket(environ) == Path("/run/user/1000/blocktree/agent.sock")
    assert agent_socket({**environ, "BLOCKTREE_HOME": str(top)}) == top / "run" / "agent.sock"
    assert agent_socket({"HOME": "/home/alice"}) == Path("/home/alice/.config/blocktree/run/agent.sock")
