"""CONTRIBUTING.md's tree and drawings against the code that they describe."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.support import ROOT

PACKAGE = ROOT / "publisher" / "claude_gauge"
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
TREE, ROAD, DEVICE = re.findall(r"^```text\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def _steps(drawing: str, folder: Path) -> list[tuple[Path, str]]:
    return [(folder / file, name) for file, name in re.findall(r"([\w/]+\.py) {2,}(\w+)", drawing)]


@pytest.mark.parametrize(
    ("file", "name"),
    [*_steps(ROAD, PACKAGE), *_steps(DEVICE, ROOT / "firmware" / "gauge")],
    ids=lambda part: part.stem if isinstance(part, Path) else part,
)
def test_steps_of_the_road_exist(file: Path, name: str) -> None:
    """Each step of the drawings names a class or function that its module defines."""
    assert re.search(rf"^(class|def) {name}\b", file.read_text(), re.MULTILINE)


def test_tree_names_every_folder() -> None:
    """The tree names each folder and module at the package's top, and no other."""
    named = set(re.findall(r"(?:^|\|  )(\w+)(?:/|\.py)", TREE, re.MULTILINE))
    there = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.name != "__init__.py" and (path.suffix == ".py" or (path / "__init__.py").exists())
    }

    assert named == there


@pytest.mark.parametrize("folder", ["daemon", "counting", "contract"])
def test_tree_names_the_modules(folder: str) -> None:
    """Where the tree lists a folder's modules, it lists all of them and no other."""
    row = re.findall(rf"^ *{folder}/ +(.+)$", TREE, re.MULTILINE)[-1]
    words = re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", row.partition(":")[2] if folder == "daemon" else row))
    there = {path.stem for path in (PACKAGE / folder).iterdir() if path.suffix == ".py" or path.is_dir()}

    assert set(words) == {name for name in there if not name.startswith("__")}


def test_files_that_the_text_names_exist() -> None:
    """Every file that the text names is there."""
    names = set(re.findall(r"`([\w./]+\.(?:py|md|txt))`", TEXT))
    places = (ROOT, PACKAGE, ROOT / "firmware" / "gauge")

    assert len(names) > 5
    assert [name for name in sorted(names) if not any((place / name).exists() for place in places)] == []


def test_modules_that_docstrings_name_exist() -> None:
    """Every module that a docstring names, as `file.py` or `folder/module`, is there."""
    modules = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
    folders = {path.name for path in PACKAGE.rglob("*/")}
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    missing = []
    for module in modules:
        nodes = ast.walk(ast.parse((PACKAGE / module).read_text()))
        text = "\n".join(ast.get_docstring(node) or "" for node in nodes if isinstance(node, documented))
        names = re.findall(r"[`(]((?:\w+/)*\w+\.py)\b", text)
        names += [f"{folder}/{name}.py" for folder, name in re.findall(r"`(\w+)/(\w+)`", text) if folder in folders]
        missing += [(module, name) for name in names if not any(f"/{each}".endswith(f"/{name}") for each in modules)]

    assert missing == []


def _privates(node: ast.AST) -> int:
    """Count the private names on the way to an attribute; what is one's own is no secret."""
    private = isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr) is not None
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            return 0
        case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
            return private + _privates(inner)
    return 0


def test_tests_reach_one_private_deep_at_most() -> None:
    """No test reaches through a private part of what it tests to another private part."""
    reaching = [
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if _privates(node) > 1
    ]

    assert reaching == []


def test_class_names_mean_one_thing() -> None:
    """No two classes of the package have the same name."""
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    names = Counter(re.findall(r"^class (\w+)", text, re.MULTILINE))

    assert [name for name, times in names.items() if times > 1] == []


EFFECTS = frozenset({
    "start", "mkdir", "touch", "write_text", "write_bytes", "load", "connect", "open", "bind", "Popen", "spawn",
})  # fmt: skip
# To make one of these is to open it: a folder, file events, a program, a pair of sockets.
OPENED = {"Directory", "Inotify", "Observed", "Companion", "Wake"}


def test_constructors_have_no_effects() -> None:
    """No constructor starts a thread or a program, writes a file or opens a port: `start` does."""
    effects = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for made in ast.walk(ast.parse(path.read_text())):
            if not isinstance(made, ast.ClassDef) or made.name in OPENED:
                continue
            makers = [each for each in made.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
            calls = [each.func for maker in makers for each in ast.walk(maker) if isinstance(each, ast.Call)]
            names = [getattr(each, "attr", getattr(each, "id", "")) for each in calls]
            effects += [f"{path.name}: {made.name}: {name}" for name in names if name in EFFECTS]

    assert effects == []
