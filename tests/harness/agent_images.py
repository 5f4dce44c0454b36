"""The images of the real agents, built as an admin builds them: `python -m tests.harness.agent_images` beforehand.

Docker's cache makes a second build a matter of seconds.
"""

import subprocess
import sys
from pathlib import Path

from tests.harness.docker import BASE_IMAGE
from tests.harness.server import ROOT

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
AGENTS = ("nanobot", "hermes", "openclaw")


def build(*names: str, base: bool = True) -> None:
    """Build the images of these backends by the command line, on the base image that `.ci/engine` makes.

    An image that is built on another agent's takes no `base`. Networks that inspect TLS have their own
    certificates: the build trusts what this machine trusts.
    """
    trusted = ("--ca", str(CERTIFICATES)) if CERTIFICATES.exists() else ()
    based = ("--base-image", BASE_IMAGE) if base else ()
    command = [sys.executable, "-m", "agentstack", "images", "build", *names, *based, *trusted]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


if __name__ == "__main__":
    build(*AGENTS)
    build("openclaw-chromium", base=False)
