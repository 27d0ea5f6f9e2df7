"""What Python programs start and what files they remove, watched: for tests that look for secrets afterwards.

A `sitecustomize` that each program imports sets an audit hook. It writes down each program that is started, with its
arguments and environment, and keeps a copy of each file before it is removed or renamed.
"""

from __future__ import annotations

from pathlib import Path

_HOOK = """
import os, shutil, sys
_LOG, _KEPT, _busy = {log!r}, {kept!r}, False
def _hook(event, arguments):
    global _busy
    if _busy or event not in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.remove", "os.rename"):
        return
    _busy = True
    try:
        if event in ("os.remove", "os.rename"):
            path = os.fsdecode(arguments[0])
            if os.path.isfile(path):
                shutil.copy(path, os.path.join(_KEPT, str(len(os.listdir(_KEPT)))))
        else:
            environment = arguments[-1] if isinstance(arguments[-1], dict) else dict(os.environ)
            with open(_LOG, "a") as log:
                log.write(repr((event, arguments[:2], environment)) + "\\n")
    except OSError:
        pass
    finally:
        _busy = False
sys.addaudithook(_hook)
"""


def set_hook(top: Path, log: Path) -> None:
    """Make `top/hook`, which is to be in PYTHONPATH, and `top/kept`, where copies go; `log` gets a line a program."""
    kept = top / "kept"
    for directory in (top / "hook", kept):
        directory.mkdir()
    (top / "hook" / "sitecustomize.py").write_text(_HOOK.format(log=str(log), kept=str(kept)))
