"""System calls as another user, each answered with its result or the name of its error.

A child takes on the user and the groups, makes the calls and writes what came of them: the test's own process stays
root, and its threads are not concerned. The child begins as root, because the interpreter may lie where others may not
go.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

#: Two users without rights and two groups, as the tests name them.
ALICE, BOB = 65533, 65534
STAFF, GUESTS = 65533, 65532

Call = tuple[object, ...]  #: the name of a function of `os` and its arguments

_PROGRAM = """
import errno, json, os, sys
user, groups = json.loads(sys.argv[2])
os.umask(0o022)
os.setgroups(groups[1:])
os.setgid(groups[0])
os.setuid(user)
answers = []
for name, *arguments in json.loads(sys.argv[1]):
    try:
        answer = getattr(os, name)(*(tuple(word) if type(word) is list else word for word in arguments))
        if name == "open":
            os.close(answer)
        answers.append("ok")
    except OSError as error:
        answers.append(errno.errorcode[error.errno])
print(json.dumps(answers))
"""


def as_user(user: int, *calls: Call, groups: tuple[int, ...] = ()) -> list[str]:
    """What came of each call: "ok", or the name of the error. Without `groups`: the group of the same number."""
    words = [[str(word) if isinstance(word, os.PathLike) else word for word in call] for call in calls]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, json.dumps(words), json.dumps([user, groups or [user]])],
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[str] = json.loads(done.stdout)
    return answers


def call(name: str, *arguments: object) -> str:
    """The same in this process, as root."""
    try:
        answer = getattr(os, name)(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if name == "open":
        os.close(answer)
    return "ok"
