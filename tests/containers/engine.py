"""A container engine: the one that runs, else one that root starts for these tests; and Mosquitto's image in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.mosquitto import find_mosquitto
from tests.support.net import PATIENCE_S, wait_until

# What a container's root needs besides the broker: users' names, a shell's worth of folders, an anonymous config.
CONFIG = "listener 1883\nallow_anonymous true\nlog_dest stderr\n"
PASSWD = "root:x:0:0:root:/:/bin/false\nmosquitto:x:1883:1883::/mosquitto:/bin/false\n"


def docker(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run docker's command."""
    command = ["docker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, **options)  # type: ignore[call-overload, no-any-return]


def _runs() -> bool:
    return shutil.which("docker") is not None and docker("info").returncode == 0


@contextmanager
def engine() -> Iterator[None]:
    """Give an engine that answers, or skip the test with the reason."""
    if _runs():
        yield
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("no container engine runs here, and none can be started (needs dockerd and root)")
    with tempfile.TemporaryDirectory(prefix="gauge-docker-", ignore_cleanup_errors=True) as folder:
        address = f"unix://{folder}/docker.sock"
        paths = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        with Path(folder, "log").open("wb") as log:
            daemon = subprocess.Popen(["dockerd", *paths, "--host", address], stdout=log, stderr=log)
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = address
        try:
            wait_until(lambda: _runs() or daemon.poll() is not None, "dockerd to answer")
            if daemon.poll() is not None:
                pytest.skip(f"dockerd does not start here: {Path(folder, 'log').read_text()[-300:]}")
            yield
        finally:
            daemon.terminate()
            daemon.wait(PATIENCE_S)
            os.environ.pop("DOCKER_HOST") if before is None else os.environ.update(DOCKER_HOST=before)


def has_image(name: str) -> bool:
    """Return whether the engine has this image, without asking any registry."""
    return docker("image", "inspect", name).returncode == 0


def make_image(name: str, folder: Path) -> None:
    """Make an image of this name from this machine's own Mosquitto: a stand-in where no registry is in reach."""
    root = folder / "root"
    program = Path(find_mosquitto())
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = [word for line in linked.splitlines() for word in line.split() if word.startswith("/")]
    for path in [str(program), *libraries]:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(path).resolve(), target)
    for name_, text in {"etc/passwd": PASSWD, "etc/group": "root:x:0:\nmosquitto:x:1883:\n"}.items():
        (root / name_).parent.mkdir(parents=True, exist_ok=True)
        (root / name_).write_text(text)
    config = root / "mosquitto" / "config"
    config.mkdir(parents=True)
    (config / "mosquitto.conf").write_text(CONFIG)
    archive = shutil.make_archive(str(folder / "image"), "tar", root)
    command = f'CMD ["{program}","-c","/mosquitto/config/mosquitto.conf"]'
    done = docker("import", "--change", "EXPOSE 1883", "--change", command, archive, name)
    assert done.returncode == 0, done.stderr
