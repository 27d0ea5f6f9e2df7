"""A process that is killed in the middle of its commits: the next one finds all that was acknowledged."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from btfproto.store import EmbeddedStore
from btfproto.testing._store_tools import A, B, change, must_commit, records_of

PROGRAM = """
import sys
from pathlib import Path
from btfproto.store import EmbeddedStore
from btfproto.testing._store_tools import A, B, change, must_commit, run
store = EmbeddedStore(Path(sys.argv[1]), segment_size=200_000)
version = store.read_records(A, []).version
while True:
    content = [b"%d" % (version + 1) * 3_000] * 3
    must_commit(store, change(A, version, run(0, 0, *content)), change(B, version, run(0, 0, content[0][:100])))
    version += 1
    print(version, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 30, 200])
def test_everything_acknowledged_is_there_and_the_rest_is_whole(tmp_path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = 0
        while last < acknowledged:
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
    store = EmbeddedStore(tmp_path)
    version = store.read_records(A, []).version
    assert store.read_records(B, []).version == version
    assert last <= version <= last + 1
    assert records_of(store, A, 0, 0, 3) == [b"%d" % version * 3_000] * 3
    assert records_of(store, B, 0, 0, 1) == [(b"%d" % version * 3_000)[:100]]
    must_commit(store, change(A, version))
    store.close()
