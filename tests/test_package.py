"""What people install: the wheel and the source archive, as they are built from this tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.net import PATIENCE_S

from claude_gauge import HOMEPAGE
from claude_gauge.apps.device.build import fixed, modules

pytestmark = pytest.mark.xdist_group("package")  # what they share is slow to begin

LEFT_OUT = (".github/",)  # of use in the repository alone


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both archives."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    return folder


def test_wheel_holds_the_firmware(built: Path) -> None:
    """A wheel has every file of the firmware, so that `firmware install` and `sim` work without a checkout."""
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    wanted = {str(path.relative_to(ROOT / "firmware")) for path in (*fixed(), *modules())}

    assert {f"claude_gauge/apps/device/on_board/{name}" for name in (*wanted, "virtual/run.py")} <= names


def test_readme_at_the_index(built: Path) -> None:
    """The package's page has no relative link or picture: they would lead nowhere there."""
    wheel = zipfile.ZipFile(next(built.glob("*.whl")))
    text = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    targets = re.findall(r"\]\(([^)]*)\)", text)

    assert any(target.endswith(".webp") for target in targets)
    assert [target for target in targets if not target.startswith(("https://", "http://", "#"))] == []


def test_source_archive_is_complete(built: Path) -> None:
    """The source archive holds every file of the tree, so that its tests run."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("the files of the tree are known in a clone only")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    missing = {name for name in tracked if name and (ROOT / name).exists()} - held

    assert {name for name in missing if not name.startswith(LEFT_OUT)} == set()


def test_one_homepage() -> None:
    """What the program links to is the address that the package names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["urls"]["Homepage"] == HOMEPAGE


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.skipif(not WORKFLOWS, reason="the source archive has no workflows")
def test_workflows() -> None:
    """Actions are pinned by their major version, the tests' folders exist, and a job that checks out may read."""
    text = "".join(path.read_text() for path in WORKFLOWS)
    actions = re.findall(r"uses: (\S+)", text)
    folders = [word for line in re.findall(r"pytest (tests.*)", text) for word in line.split()]
    jobs = [job for path in WORKFLOWS for job in re.split(r"^  (?=\w+:$)", path.read_text(), flags=re.MULTILINE)]

    assert [each for each in actions if not re.fullmatch(r"[\w./-]+@(v[0-9]+|release/v1)", each)] == []
    assert folders
    assert [each for each in folders if not (ROOT / each).is_dir()] == []
    assert [job for job in jobs if "checkout@" in job and "permissions:" in job and "contents:" not in job] == []
