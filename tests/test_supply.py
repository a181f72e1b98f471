"""What we depend on is bounded by what was tested."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.version import Version
from tests.support import ROOT

LINE = re.compile(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)")


def constraints() -> dict[str, Version]:
    """Read constraints.txt: names and versions, and nothing else."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return {match[1]: Version(match[2]) for match in found if match}


def needed(name: str, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """Name what a package needs to run, and what that needs, as far as it is installed here."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    try:
        requirements = [Requirement(text) for text in distribution(name).requires or []]
    except PackageNotFoundError:
        return known
    known |= {name}
    for each in requirements:
        if each.marker is None or each.marker.evaluate({"extra": ""}):
            known |= needed(each.name, known) if re.sub(r"[-_.]+", "-", each.name).lower() not in known else known
    return known


def test_constraints_name_all_that_runs() -> None:
    """Each package that claude-gauge or its firmware extra needs has a tested version, within the declared bounds."""
    tested = constraints()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    firmware = project["optional-dependencies"]["firmware"]
    all_needed = needed("claude-gauge").union(*(needed(Requirement(text).name) for text in firmware))

    assert all_needed - {"claude-gauge"} <= set(tested)
    for text in (*project["dependencies"], *firmware):
        requirement = Requirement(text)
        assert "<" in str(requirement.specifier), text
        assert tested[requirement.name] in requirement.specifier, text


def test_no_package_runs_scripts_of_its_own() -> None:
    """What npm installs for the tests runs nothing at its installation."""
    calls = [
        line
        for path in (ROOT / "scripts/parts").glob("*.sh")
        for line in path.read_text().splitlines()
        if line.startswith("npm install")
    ]

    assert calls
    assert all("--ignore-scripts" in line for line in calls)
