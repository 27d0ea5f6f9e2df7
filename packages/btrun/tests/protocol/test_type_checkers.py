"""The type checkers on good and bad programs: a step that a state does not allow is an error before anything runs.

Each program is a function body over the bank's or the client's handles. A bad line says after `# !` what mypy must
report there, and nothing else may be reported. pyright, with its own defaults, must find errors in the same lines; it
runs as basedpyright, the same checker with node in a wheel: nothing is downloaded when it starts.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3]

HEAD = """\
from __future__ import annotations
from typing import assert_never
from btrun.protocol import Channel
from btrun.protocol.examples.transfer import Abort, Ask, Commit, Held, Leave, Moved, Refused, Released
from btrun.protocol.examples.transfer_handles import *
from btrun.protocol.examples.two_phase_handles import CoordinatorStart, FirstVoting, as_coordinator
from btrun.protocol.examples import two_phase

ASK = Ask(source="a", target="b", amount=1)
"""

PROGRAMS = {
    "a whole session": """
async def main(channel: Channel) -> int:
    async with as_client(channel) as ready:
        asked = await ready.send(ASK)
        match await asked.receive():
            case ClientAsked.Held(offer, held):
                moved, ready = await (await held.send(Commit())).receive()
                await ready.send(Leave())
                return offer.fee + moved.balance
            case ClientAsked.Refused(refused, ready):
                await ready.send(Leave())
                return len(refused.reason)
""",
    "every case is handled": """
async def main(asked: ClientAsked) -> None:
    match await asked.receive():
        case ClientAsked.Held():
            pass
        case ClientAsked.Refused():
            pass
        case never:
            assert_never(never)
""",
    "a message of another state": """
async def main(ready: ClientReady) -> None:
    await ready.send(Commit())  # ! No overload variant of "send" of "ClientReady" matches argument type "Commit"
""",
    "a message of the other role": """
async def main(committing: BankCommitting) -> None:
    await committing.send(Commit())  # ! Argument 1 to "send" of "BankCommitting" has incompatible type "Commit"
""",
    "sending where it is the other's turn": """
async def main(asked: ClientAsked) -> None:
    await asked.send(ASK)  # ! "ClientAsked" has no attribute "send"
""",
    "receiving where it is our turn": """
async def main(ready: ClientReady) -> None:
    await ready.receive()  # ! "ClientReady" has no attribute "receive"
""",
    "going on after the end": """
async def main(ready: ClientReady) -> None:
    end = await ready.send(Leave())
    await end.send(ASK)  # ! "Ended" has no attribute "send"
""",
    "the next state belongs to its message": """
async def main(asked: ClientAsked) -> None:
    match await asked.receive():
        case ClientAsked.Refused(_, ready):
            await ready.send(Commit())  # ! No overload variant of "send" of "ClientReady"
        case ClientAsked.Held(_, held):
            await held.send(ASK)  # ! No overload variant of "send" of "ClientHeld" matches argument type "Ask"
""",
    "a forgotten case": """
async def main(asked: ClientAsked) -> int:  # ! Missing return statement
    match await asked.receive():
        case ClientAsked.Held():
            return 1
""",
    "a forgotten case with assert_never": """
async def main(asked: ClientAsked) -> None:
    match await asked.receive():
        case ClientAsked.Held():
            pass
        case never:
            assert_never(never)  # ! Argument 1 to "assert_never" has incompatible type
""",
    "a case that cannot come": """
async def main(asked: ClientAsked) -> None:
    match await asked.receive():
        case ClientAsked.Moved():  # ! has no attribute "Moved"
            pass
""",
    "a field that the message lacks": """
async def main(aborting: ClientAborting) -> None:
    message, ready = await aborting.receive()
    print(message.balance)  # ! "Released" has no attribute "balance"
""",
    "a step that nobody awaits": """
async def main(ready: ClientReady) -> None:
    ready.send(Leave())  # ! must be used
""",
    "a role's first state": """
async def main(channel: Channel) -> None:
    async with as_bank(channel) as start:
        await start.send(ASK)  # ! "BankReady" has no attribute "send"
""",
    "a projected role": """
async def main(start: CoordinatorStart, voting: FirstVoting) -> None:
    asking = await start.send(two_phase.Prepare(change=b""))
    await asking.receive()  # ! "CoordinatorAsking" has no attribute "receive"
    refusing = await voting.send(two_phase.Unable(reason=""))
    abort = await refusing.receive()
    await abort.then.send(two_phase.Commit())  # ! Argument 1 to "send" of "FirstFirstDone" has incompatible type
""",
    "a misspelt state in a declaration": """
from btrun.protocol import END, Protocol, Role, State
class Ping(Protocol):
    left = Role("")
    right = Role("")
    start = State("")
    start.lets(left, {Leave: stat})  # ! Name "stat" is not defined
    start.lets("left", {Leave: END})  # ! Argument 1 to "lets" of "State" has incompatible type "str"
    start.lets(left, {int: END})  # ! has incompatible type "type[int]"
""",
}


#: A protocol of somebody else: messages from a module of their own, and meanings with quotes in them.
MESSAGES = """
from msgspec import Struct
class Go(Struct, frozen=True):
    name: str
"""
DECLARATION = r'''
from msgspec import Struct
import strange_messages
from btrun.protocol import END, Protocol, Role, State
class Stop(Struct, frozen=True): ...
class Strange(Protocol):
    left = Role('says "go"')
    right = Role("")
    start = State('left says "go" or \\ "stop"')
    back = State('ends with """')
    start.lets(left, {strange_messages.Go: back, Stop: END})
    back.lets(right, {Stop: start})
'''
STRANGE_USE = """
from strange import Stop
from strange_handles import LeftStart
from strange_messages import Go
async def main(start: LeftStart) -> str:
    back = await start.send(Go(name="x"))
    message, start = await back.receive()
    await start.send(message)
    return message.name  # ! "Stop" has no attribute "name"
"""


def expected(text: str) -> dict[int, str]:
    """Line number → what must be reported there."""
    marks = ((number, re.search(r"# ! (.*)$", line)) for number, line in enumerate(text.splitlines(), start=1))
    return {number: mark[1] for number, mark in marks if mark}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """All programs as files: one run of a checker for all of them."""
    folder = tmp_path_factory.mktemp("programs")
    paths = {}
    for number, (name, body) in enumerate(PROGRAMS.items()):
        paths[name] = folder / f"program_{number}.py"
        paths[name].write_text(HEAD + body, encoding="utf-8")
    paths["handles of a strange protocol"] = write_strange(folder)
    return paths


def write_strange(folder: Path) -> Path:
    """A declaration with its generated handles, and a program that uses them."""
    (folder / "strange_messages.py").write_text(MESSAGES, encoding="utf-8")
    (folder / "strange.py").write_text(DECLARATION, encoding="utf-8")
    code = "import strange, btrun.protocol as p; print(p.handles_source(strange.Strange), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    (folder / "strange_handles.py").write_text(done.stdout, encoding="utf-8")
    subprocess.run([sys.executable, "-W", "error", "-c", "import strange_handles"], cwd=folder, check=True)
    (folder / "strange_use.py").write_text(STRANGE_USE, encoding="utf-8")
    return folder / "strange_use.py"


@pytest.fixture(scope="module")
def mypy_reports(programs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """(file, line) → the errors that mypy has there."""
    cache = tmp_path_factory.mktemp("cache")
    files = [str(path) for path in programs.values()]
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(cache), *files]
    roots = [*(SOURCES / name / "src" for name in ("btrun", "bttp", "btlib", "btserde")), Path(files[0]).parent]
    environment = {"MYPYPATH": ":".join(map(str, roots))}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cache, check=False)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    reports: dict[tuple[str, int], str] = {}
    for path, line, text in re.findall(r"^(.+?):(\d+): error: (.*)$", result.stdout, re.MULTILINE):
        key = (Path(path).name, int(line))
        reports[key] = f"{reports.get(key, '')}{text}\n"
    return reports


@pytest.mark.parametrize("name", [*PROGRAMS, "handles of a strange protocol"])
def test_mypy_reports_exactly_the_marked_lines(
    name: str, programs: Mapping[str, Path], mypy_reports: Mapping[tuple[str, int], str]
) -> None:
    path = programs[name]
    marks = expected(path.read_text(encoding="utf-8"))
    found = {line: text for (file, line), text in mypy_reports.items() if file == path.name}
    assert set(found) == set(marks), found
    for line, text in marks.items():
        assert text in found[line]


def test_generated_modules_are_clean_themselves(mypy_reports: Mapping[tuple[str, int], str]) -> None:
    assert [text for (file, _), text in mypy_reports.items() if file.endswith("_handles.py")] == []


def test_pyright_finds_errors_in_the_same_lines(programs: Mapping[str, Path]) -> None:
    folder = next(iter(programs.values())).parent
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}', encoding="utf-8")
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    command += ["--project", str(folder)]
    output = json.loads(subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder).stdout)
    found = {
        (Path(report["file"]).name, report["range"]["start"]["line"] + 1)
        for report in output["generalDiagnostics"]
        if report["severity"] == "error"
    }
    marked = {(path.name, line) for path in programs.values() for line in expected(path.read_text(encoding="utf-8"))}
    assert found == marked
    assert output["summary"]["filesAnalyzed"] >= len(programs)
