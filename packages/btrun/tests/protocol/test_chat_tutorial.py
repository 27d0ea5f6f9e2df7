"""The chat of the tutorial, as the reader runs it: its room in one process, its members in others."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[4] / "docs" / "tutorials" / "chat.md"
FIRST = re.compile(r"^```python\n(.*?)^async def main\(\)", re.DOTALL | re.MULTILINE)  # its functions

HOST = """
domain = make_domain_identities("nas", "alice", "mallory")
anyio.run(host, Room(), domain.path.child("room"), domain["nas"], domain.principal, lambda at: print(at, flush=True))
"""
MEMBER = """
import sys
domain = make_domain_identities("nas", "alice", "mallory")
place, root, endpoint = domain.path.child("room"), domain.principal, sys.argv[1]
print(*anyio.run(member, endpoint, place, domain["alice"], root), sep="\\n")
"""
MALLORY = """
import sys
domain = make_domain_identities("nas", "alice", "mallory")
async def main():
    async with bttp.connect(sys.argv[1], domain["mallory"], root=domain.principal) as link:
        await say(link, domain.path.child("room"), "alice", "I am alice")
anyio.run(main)
"""


def command(program: str, *arguments: str) -> list[str]:
    parts = FIRST.search(TUTORIAL.read_text(encoding="utf-8"))
    assert parts is not None
    return [sys.executable, "-W", "error", "-c", parts[1] + program, *arguments]


@pytest.fixture
def room() -> Iterator[str]:
    """The endpoint of a room that runs."""
    with subprocess.Popen(command(HOST), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def test_a_member_in_another_process_speaks_and_hears(room: str) -> None:
    done = subprocess.run(command(MEMBER, room), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["alice: hello", "alice: is anyone here?"]
    stranger = subprocess.run(command(MALLORY, room), capture_output=True, text=True, check=False)
    assert "LookupError: alice is somebody else" in stranger.stderr
