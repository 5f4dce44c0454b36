"""The documentation that is generated is up to date."""

import subprocess
import sys

from tests.harness.server import ROOT


def test_what_is_generated_is_what_the_program_says() -> None:
    check = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run `python docs/generate.py`: {done.stdout} {done.stderr}"
