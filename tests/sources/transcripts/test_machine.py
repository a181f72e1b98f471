"""Any sequence of what can happen to files, against a model of the truth: nothing lost, nothing counted twice."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.transcripts import assistant, encoded

from claude_gauge.counting import turn
from claude_gauge.counting.counter import Counter
from claude_gauge.sources.transcripts.tail import Tail

NOW = 1_763_900_000.0
_names = st.sampled_from(["-a/one", "-a/two", "-b/one", "-b/one/subagents/agent-1", "-c/odd.jsonl/in"])
_outputs = st.integers(1, 500)
_cuts = st.floats(0, 1)
_junk = st.sampled_from([b"\n", b"\0" * 4100, b"\0" * 70 + b"\n", b"{\n", b'{"type":"user"}\n', b"\xff\n"])


class SmallSteps(Tail):
    """Reads small files as it reads large ones: from the end, in pieces."""

    leap_bytes, recent_bytes, step_bytes = 900, 300, 700


class Files(RuleBasedStateMachine):
    """The truth: a response counts from the moment that a look finds a whole line of it on the disk."""

    @initialize()
    def begin(self) -> None:
        """Start with nothing on the disk and nothing counted."""
        self.root = Path(tempfile.mkdtemp())
        self.records: dict[bytes, tuple[int, int]] = {}  # a record's bytes: its response and its total
        self.newest = 0
        self.restart()

    @rule()
    def restart(self) -> None:
        """The publisher starts again: it knows what is on the disk, no more."""
        self.tail, self.counter = SmallSteps([self.root]), Counter()
        self.truth: dict[int, int] = {}
        self.looked = True

    def _path(self, name: str) -> Path:
        path = self.root / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _record(self, response: int, output: int) -> bytes:
        record = encoded(assistant(NOW - response, response, tokens=(1, output, 20, 3)))
        self.records[record[:-1]] = (response, 24 + output)
        return record

    def _put(self, name: str, data: bytes) -> None:
        with self._path(name).open("ab", buffering=0) as file:
            file.write(data)

    @rule(name=_names, outputs=st.lists(_outputs, min_size=1, max_size=30))
    def append(self, name: str, outputs: list[int]) -> None:
        """Whole lines of new responses."""
        for output in outputs:
            self.newest += 1
            self._put(name, self._record(self.newest, output))

    @rule(name=_names, back=st.integers(0, 5), output=_outputs)
    def append_again(self, name: str, back: int, output: int) -> None:
        """A line of a response that is known already, larger or smaller, perhaps in another file."""
        self._put(name, self._record(max(0, self.newest - back), output))

    @rule(name=_names, cut=_cuts, output=_outputs, but_for_newline=st.booleans())
    def append_half(self, name: str, cut: float, output: int, *, but_for_newline: bool) -> None:
        """The beginning of a line, or all but its newline; the rest comes later, or never."""
        self.newest += 1
        record = self._record(self.newest, output)
        at = len(record) - 1 if but_for_newline else int(cut * len(record))
        self._put(name, record[:at])
        self.half = (name, record[:at], record[at:])

    @rule()
    def append_other_half(self) -> None:
        """The rest of the half line, though the file may be another by now.

        Not behind a half of another record: the two might make a whole one that nobody wrote.
        """
        if hasattr(self, "half"):
            name, begun, rest = self.half
            path = self._path(name)
            if not path.exists() or path.read_bytes().rpartition(b"\n")[2] in {b"", begun}:
                self._put(name, rest)
            del self.half

    @rule(
        name=_names,
        junk=st.sampled_from([b"\n", b"\0" * 4100, b"\0" * 70 + b"\n", b"{\n", b'{"type":"user"}\n', b"\xff\n"]),
    )
    def append_junk(self, name: str, junk: bytes) -> None:
        """What is no record."""
        self._put(name, junk)

    @rule(name=_names, cut=_cuts)
    def truncate(self, name: str, cut: float) -> None:
        """Cut the file short, anywhere."""
        path = self._path(name)
        if path.exists():
            with path.open("r+b") as file:
                file.truncate(int(cut * path.stat().st_size))

    @rule(name=_names, outputs=st.lists(_outputs, max_size=30), in_place=st.booleans())
    def rewrite(self, name: str, outputs: list[int], *, in_place: bool) -> None:
        """Other content under the same name: in place, as a compaction does, or by a rename over it."""
        data = b""
        for output in outputs:
            self.newest += 1
            data += self._record(self.newest, output)
        path = self._path(name)
        other = path if in_place else path.with_suffix(".new")
        other.write_bytes(data)
        other.replace(path)

    @rule(name=_names)
    def delete(self, name: str) -> None:
        """The file goes; Claude Code cleans up."""
        self._path(name).unlink(missing_ok=True)

    @rule(old=_names, new=_names)
    def rename(self, old: str, new: str) -> None:
        """A file gets another name, perhaps over another file."""
        if self._path(old).exists():
            self._path(old).rename(self._path(new))

    @rule(old=_names, new=_names)
    def fork(self, old: str, new: str) -> None:
        """A resumed session copies all lines of another into its own file."""
        if self._path(old).exists() and old != new:
            shutil.copyfile(self._path(old), self._path(new))

    @rule(old=st.sampled_from("abc"), new=st.sampled_from("xyz"))
    def move_folder(self, old: str, new: str) -> None:
        """A project's folder gets another name, or its old one back."""
        if (self.root / f"-{old}").exists() and not (self.root / f"-{new}").exists():
            (self.root / f"-{old}").rename(self.root / f"-{new}")

    @rule(name=_names)
    def hint(self, name: str) -> None:
        """An event names this file, rightly or not, and is followed at once, alone."""
        path = self._path(name)
        self.tail.hint(str(path))
        self._see([path])
        self._read()

    @rule()
    def look(self) -> None:
        """A scan, and all that it found is read."""
        self.tail.scan()
        self._see(path for path in self.root.rglob("*.jsonl") if path.is_file())
        self._read()
        self.looked = True

    def _see(self, paths) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        for path in paths:
            if path.is_file():
                data = path.read_bytes()
                lines = data.replace(b"\0", b"").split(b"\n")
                # A last record without its newline counts, too.
                for line in lines if data.endswith(b"}") else lines[:-1]:
                    for record, (response, total) in self.records.items():
                        if record in line:
                            self.truth[response] = max(self.truth.get(response, 0), total)

    def _read(self) -> None:
        while self.tail.behind:
            for line in self.tail.step():
                for each in turn.parse(line):
                    self.counter.add(each, NOW)

    @invariant()
    def counted_is_the_truth(self) -> None:
        """After every step what is counted is what was there to be seen."""
        assert self.counter.week(NOW) == sum(self.truth.values())

    def teardown(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.root)


TestFiles = Files.TestCase
TestFiles.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
