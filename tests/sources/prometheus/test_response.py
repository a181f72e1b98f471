"""Whatever an engine answers: samples, or a reason in a few words."""

from __future__ import annotations

import contextlib
import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_gauge.sources.prometheus.client import MOST_WORDS, QueryResult, Sample, TroubleError, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PAIR = st.tuples(st.floats() | st.integers() | st.text(), st.text() | st.sampled_from(["1", "NaN", "-Inf", "1e400"]))


@settings(deadline=None, max_examples=50)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage(body: bytes) -> None:
    """Garbage is refused, in words that fit the payload, and nothing else ever happens."""
    with contextlib.suppress(TroubleError):
        parse(body)
        raise AssertionError("garbage was taken")


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"metric": st.dictionaries(st.text(), JSON)}, optional={"value": PAIR | JSON, "values": st.lists(PAIR)}
        )
    )
)
def test_nearly_right(result: list[object]) -> None:
    """An answer of nearly the right shape is refused in few words, or all its values are numbers."""
    body = json.dumps({"status": "success", "data": {"result": result}}).encode()
    samples: tuple[Sample, ...] = ()
    why = "?"
    try:
        samples = parse(body).samples
    except TroubleError as trouble:
        why = trouble.why

    assert 0 < len(why) <= MOST_WORDS
    assert all(math.isfinite(sample.value) and math.isfinite(sample.at) for sample in samples)
    assert all(isinstance(text, str) for sample in samples for text in sample.labels.values())


def test_both_shapes() -> None:
    """Instant and range answers become the same samples; a warning makes an answer partial, a mere info does not."""
    one = {"metric": {"type": "output"}, "value": [7.5, "3"]}
    many = {"metric": {"type": "output"}, "values": [[7.5, "3"], [8.5, "4"]]}

    def answer(series: object, **more: object) -> QueryResult:
        return parse(json.dumps({"status": "success", "data": {"result": [series]}, **more}).encode())

    assert answer(one) == QueryResult((Sample({"type": "output"}, 7.5, 3.0),))
    assert [sample.value for sample in answer(many).samples] == [3.0, 4.0]
    assert answer(one, warnings=["x"]).partial
    assert answer(one, isPartial=True).partial
    assert not answer(one, infos=["PromQL info"], warnings=[]).partial
