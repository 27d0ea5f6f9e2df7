"""Builds the extensions; those that open sectors against OpenSSL, and that of many of them also, where its header is
found, against Intel's multi-buffer library.

BTSPEED_IPSEC_MB=0 in the environment leaves the latter out.
"""

import os
import subprocess
import sysconfig

from setuptools import Extension, setup


def finds_ipsec_mb() -> bool:
    """Whether the compiler knows a version with plain SHA-256 jobs."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    source = "#include <intel-ipsec-mb.h>\n#if IMB_VERSION_NUM < 0x10300\n#error too old\n#endif\n"
    command = [*compiler, "-E", "-x", "c", "-"]
    try:
        return subprocess.run(command, input=source, text=True, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


COMPILE = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-fstack-protector-strong"]

many_lanes = os.environ.get("BTSPEED_IPSEC_MB", "1") != "0" and finds_ipsec_mb()

setup(
    ext_modules=[
        Extension(
            "btspeed._sectors",
            sources=["src/btspeed/_sectors.c"],
            depends=[
                f"src/btspeed/{name}.h" for name in ("_sectors", "_engine", "_many_lanes", "_together", "_from_file")
            ],
            define_macros=[("HAVE_IPSEC_MB", "1")] if many_lanes else [],
            libraries=["crypto", *(["IPSec_MB"] if many_lanes else [])],
            extra_compile_args=COMPILE,
            py_limited_api=True,
        ),
        Extension(
            "btspeed._encode",
            sources=["src/btspeed/_encode.c"],
            depends=["src/btspeed/_encode_out.h", "src/btspeed/_encode_program.h"],
            extra_compile_args=COMPILE,
            py_limited_api=True,
        ),
        Extension(
            "btspeed._frames",
            sources=["src/btspeed/_frames.c"],
            extra_compile_args=COMPILE,
            py_limited_api=True,
        ),
        Extension(
            "btspeed._requests",
            sources=["src/btspeed/_requests.c", "src/btspeed/_reads.c", "src/btspeed/_read_table.c"],
            depends=["src/btspeed/_reads.h", "src/btspeed/_read_pages.h", "src/btspeed/_sectors.h"],
            libraries=["crypto"],
            extra_compile_args=COMPILE,
            py_limited_api=True,
        ),
        Extension(
            "btspeed._waiting",
            sources=["src/btspeed/_waiting.c"],
            extra_compile_args=COMPILE,
            py_limited_api=True,
        ),
    ],
)
