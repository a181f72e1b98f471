"""Commands in namespaces of their own: other kernel limits, other mounts, for that process alone."""

from __future__ import annotations

import shutil
import subprocess

import pytest

_UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]


def unshared(script: str) -> list[str]:
    """Return a command that runs a shell script as root of namespaces of its own; it should end in `exec "$@"`.

    Skips the test where the kernel allows nobody namespaces (as some hardened ones and containers do).
    """
    assert shutil.which("unshare"), "unshare is missing: apt-get install util-linux"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this kernel allows no namespaces: {tried.stderr.strip()}")
    return [*_UNSHARE, script, "sh"]
