"""Without the extra, the package says what to install, and nothing else of btlib needs it."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = """
import sys
sys.modules["tpm2_pytss"] = None
import btlib, btlib.credentials, btlib.home, btlib.testing, btlib.testing.swtpm
from btlib.errors import CredentialError
try:
    import btlib.tpm
except CredentialError as error:
    print(type(error).__name__, error)
"""


def test_importing_without_the_extra_names_what_to_install() -> None:
    run = subprocess.run([sys.executable, "-c", BLOCKED], check=True, capture_output=True, text=True)
    assert run.stdout.startswith("TpmMissingError keys in a TPM need the extra `tpm` of btlib")
    assert run.stdout.rstrip().endswith("then run: pip install 'btlib[tpm]'")
