"""btfsd as a process: starting, being found, refusing to start, and stopping with everything committed."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from pathlib import Path

import pytest
from btfproto.errors import FsError
from btfproto.opening import open_alone, open_end_to_end, open_files, open_thin, store_at
from btfproto.provider import OpenFlags, Owner
from btfproto.store.remote import StoreClient
from btlib import Credentials
from btlib.errors import BlocktreeError
from btlib.kinds import Kind
from btlib.writecaps import Chain, Rights, issue_writecap

from .conftest import Machine

ME = Owner(1000, 1000)


def endpoint(machine: Machine) -> str:
    found = machine.held_by["endpoint"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_with_0_on_a_signal(machine: Machine, number: signal.Signals) -> None:
    process = machine.start()
    code, err = machine.stop(process, number)
    assert (code, "everything is committed" in err) == (0, True)
    assert "Traceback" not in err


def test_it_listens_where_it_is_told_and_beside_the_store(machine: Machine) -> None:
    process = machine.begin("--listen", "127.0.0.1:0", environ={"NOTIFY_SOCKET": str(machine.top / "notify")})
    status = machine.wait_notice("READY=1", process)
    tcp = status.split("listening on ")[1].split(",")[0]
    root = machine.domain.root_path
    with_store = store_at(tcp, machine.identity, machine.domain.server_path)
    assert with_store.status().blocks > 0
    with_store.close()
    provider = open_thin(machine.domain, machine.identity, root, server=tcp)
    assert provider.readdir(provider.root, 0, 10) == []
    provider.shutdown()
    assert endpoint(machine).startswith("unix:/")
    assert machine.stop(process)[0] == 0


def test_what_a_thin_client_wrote_and_did_not_sync_is_committed_at_the_stop(machine: Machine) -> None:
    process = machine.start()
    thin = open_thin(machine.domain, machine.identity, machine.domain.root_path, server=endpoint(machine))
    _, handle = thin.create(thin.root, "notes", 0o644, ME, OpenFlags.WRITE)
    thin.write(handle, 0, b"not lost")
    assert machine.stop(process)[0] == 0
    with pytest.raises(BlocktreeError):
        thin.shutdown()
    alone = open_alone(machine.domain, machine.identity, machine.domain.root_path)
    found = alone.lookup(alone.root, "notes")
    assert alone.read(alone.open(found.inode, OpenFlags.READ), 0, 100) == b"not lost"
    alone.shutdown()


def test_a_program_on_this_machine_goes_through_the_daemon_that_has_the_store(machine: Machine) -> None:
    process = machine.start()
    provider = open_files(machine.domain, machine.identity, machine.domain.root_path)
    provider.mkdir(provider.root, "made through the socket", 0o755, ME)
    provider.shutdown()
    assert machine.stop(process)[0] == 0
    alone = open_alone(machine.domain, machine.identity, machine.domain.root_path)
    assert [entry.name for entry in alone.readdir(alone.root, 0, 10)] == ["made through the socket"]
    alone.shutdown()


def test_a_long_poll_does_not_hold_up_the_stop(machine: Machine) -> None:
    process = machine.start()
    client = store_at(endpoint(machine), machine.identity, machine.domain.server_path)
    cursor = client.watch(0, bytes(16), 0).cursor
    waiting = threading.Thread(target=_watch, args=(client, cursor))
    waiting.start()
    code, err = machine.stop(process)
    assert code == 0
    assert "took longer" not in err
    client.close()
    waiting.join()


def _watch(client: StoreClient, cursor: int) -> None:
    with contextlib.suppress(BlocktreeError):
        client.watch(cursor, bytes(16), 50.0)


def test_after_a_kill_it_starts_again_beside_the_old_socket(machine: Machine) -> None:
    process = machine.start()
    assert machine.stop(process, signal.SIGKILL)[0] == -signal.SIGKILL
    again = machine.start()
    assert machine.stop(again)[0] == 0


def test_a_second_one_on_the_same_store_names_the_first(machine: Machine) -> None:
    process = machine.start()
    code, _, err = machine.run()
    assert code == 7
    assert f"in use by btfsd (process {process.pid})" in err
    assert machine.stop(process)[0] == 0


def test_a_port_in_use_is_named(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = machine.run("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert code == 7
    assert "cannot listen on 127.0.0.1:" in err


def test_a_wrong_passphrase_ends_with_3_and_does_not_show_it(machine: Machine) -> None:
    code, _, err = machine.run(environ={"BLOCKTREE_PASSPHRASE": "wrong guess"})
    assert code == 3
    assert "passphrase" in err
    assert "wrong guess" not in err


def test_without_a_passphrase_and_a_terminal_it_says_how_to_give_one(machine: Machine) -> None:
    code, _, err = machine.run(environ={"BLOCKTREE_PASSPHRASE": ""})
    assert code == 3
    assert "--passphrase-file" in err


def test_the_passphrase_comes_from_a_systemd_credential(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("correct horse battery staple\n")
    process = machine.start(environ={"BLOCKTREE_PASSPHRASE": "", "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert machine.stop(process)[0] == 0


def test_the_watchdog_is_fed(machine: Machine) -> None:
    process = machine.start(environ={"WATCHDOG_USEC": "200000"})
    machine.wait_notice("WATCHDOG=1", process)
    machine.wait_notice("WATCHDOG=1", process)
    assert machine.stop(process)[0] == 0


def test_json_logs_are_one_object_a_line_with_the_fields_of_the_event(machine: Machine) -> None:
    process = machine.start("--log-json")
    _, err = machine.stop(process)
    lines = [json.loads(line) for line in err.splitlines()]
    events = {line["event"]: line for line in lines if "event" in line}
    assert {"started", "stopping", "stopped"} <= events.keys()
    assert events["started"]["principal"] == str(machine.identity.principal)


def test_a_stranger_is_told_to_have_the_machine_enrolled(machine: Machine) -> None:
    process = machine.start()
    stranger = Credentials.generate().identity()
    client = store_at(endpoint(machine), stranger, machine.domain.server_path)
    with pytest.raises(BlocktreeError, match="bt enroll") as refused:
        client.status()
    client.close()
    assert str(stranger.principal) in str(refused.value)
    assert machine.stop(process)[0] == 0


def test_a_member_without_a_grant_is_told_what_to_ask_for(machine: Machine) -> None:
    process = machine.start()
    member = Credentials.generate().identity()
    domain = machine.domain
    chain = issue_writecap(
        machine.root.signer,
        Chain(),
        subject=member.principal,
        path=domain.hosts_path,
        scope=bytes(16),
        rights=Rights.EXECUTE,
        not_before=0,
        not_after=2**40,
        may_delegate=False,
        serial=bytes(16),
    )
    with pytest.raises(BlocktreeError) as refused:
        open_thin(domain, member.with_chains(chain), domain.root_path.child("photos"), server=endpoint(machine))
    assert refused.value.kind is Kind.FORBIDDEN
    path = domain.root_path.child("photos")
    assert f"bt grant {member.principal} {path} read" in str(refused.value)
    assert machine.stop(process)[0] == 0


def test_services_that_are_switched_off_do_not_answer(machine: Machine) -> None:
    process = machine.start(environ={"BTFSD_SERVICES_FILES": "no"})
    with pytest.raises(BlocktreeError) as refused:
        open_thin(machine.domain, machine.identity, machine.domain.root_path, server=endpoint(machine))
    assert refused.value.kind is Kind.NO_SUCH_TARGET
    assert "switched off here (services.files)" in str(refused.value)
    assert machine.stop(process)[0] == 0


def test_a_home_without_a_domain_says_so(machine: Machine, tmp_path: Path) -> None:
    code, _, err = machine.run(environ={"BLOCKTREE_HOME": str(tmp_path / "empty")})
    assert code == 2
    assert "bt init" in err


def test_an_emptied_store_is_not_served(machine: Machine) -> None:
    store = machine.domain.store
    assert store is not None
    store.rename(store.with_name("moved"))
    code, _, err = machine.run()
    assert code == 1
    assert "holds no domain" in err


def test_an_end_to_end_client_and_a_thin_one_see_what_the_other_writes(machine: Machine) -> None:
    process = machine.start()
    root = machine.domain.root_path
    keys_here = open_end_to_end(machine.domain, machine.identity, root, server=endpoint(machine))
    thin = open_thin(machine.domain, machine.identity, root, server=endpoint(machine))
    for writer, reader, name in ((keys_here, thin, "one"), (thin, keys_here, "two"), (keys_here, thin, "three")):
        _, handle = writer.create(writer.root, name, 0o644, ME, OpenFlags.WRITE)
        writer.write(handle, 0, name.encode())
        writer.fsync(handle)
        writer.close(handle)
        found = reader.lookup(reader.root, name)
        handle = reader.open(found.inode, OpenFlags.READ)
        assert reader.read(handle, 0, 100) == name.encode()
        reader.close(handle)
    keys_here.shutdown()
    thin.shutdown()
    assert machine.stop(process)[0] == 0


def test_it_stops_also_when_the_signal_comes_at_once(machine: Machine) -> None:
    for _ in range(3):
        process = machine.start()
        assert machine.stop(process)[0] == 0


def test_clients_go_on_after_the_server_was_killed_and_started_again(machine: Machine) -> None:
    process = machine.start()
    root, where = machine.domain.root_path, endpoint(machine)
    thin = open_thin(machine.domain, machine.identity, root, server=where)
    keys_here = open_end_to_end(machine.domain, machine.identity, root, server=where)
    shown, handle = thin.create(thin.root, "kept", 0o644, ME, OpenFlags.READ | OpenFlags.WRITE)
    thin.write(handle, 0, b"synced")
    thin.fsync(handle)
    assert machine.stop(process, signal.SIGKILL)[0] == -signal.SIGKILL
    again = machine.start()
    assert thin.read(handle, 0, 100) == b"synced"
    assert thin.getattr(shown.inode).size == 6
    assert keys_here.lookup(keys_here.root, "kept").size == 6
    keys_here.mkdir(keys_here.root, "after", 0o755, ME)
    keys_here.sync()
    assert thin.lookup(thin.root, "after").inode
    thin.shutdown()
    keys_here.shutdown()
    assert machine.stop(again)[0] == 0


def test_a_write_that_a_killed_server_lost_is_reported_by_the_next_fsync(machine: Machine) -> None:
    process = machine.start(environ={"BTFSD_FILES_COMMIT_SECONDS": "3600"})
    thin = open_thin(machine.domain, machine.identity, machine.domain.root_path, server=endpoint(machine))
    _, handle = thin.create(thin.root, "file", 0o644, ME, OpenFlags.READ | OpenFlags.WRITE)
    thin.write(handle, 0, b"synced")
    thin.fsync(handle)
    thin.write(handle, 0, b"LOST!!")
    machine.stop(process, signal.SIGKILL)
    again = machine.start()
    with pytest.raises(FsError, match="started anew"):
        thin.fsync(handle)
    assert thin.read(handle, 0, 100) == b"synced"
    thin.fsync(handle)
    thin.close(handle)
    thin.shutdown()
    assert machine.stop(again)[0] == 0


def test_garbage_at_the_door_disturbs_nobody(machine: Machine) -> None:
    process = machine.begin("--listen", "127.0.0.1:0", environ={"NOTIFY_SOCKET": str(machine.top / "notify")})
    status = machine.wait_notice("READY=1", process)
    host, _, port = status.split("listening on ")[1].split(",")[0].rpartition(":")
    for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 70_000, bytes(70_000)):
        with socket.create_connection((host, int(port)), timeout=10) as sock, contextlib.suppress(OSError):
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
    client = store_at(f"{host}:{port}", machine.identity, machine.domain.server_path)
    assert client.status().blocks > 0
    client.close()
    code, err = machine.stop(process)
    assert code == 0
    assert "Traceback" not in err
