"""What Prometheus answered: checked, or refused with the reason in a few words. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_WORDS = 28


class TroubleError(Exception):
    """Why there is no usable answer, in at most 28 characters, as the payload tells it."""

    def __init__(self, why: str) -> None:
        super().__init__(why[:MOST_WORDS])
        self.why = why[:MOST_WORDS]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of an answer and its labels; `at` in epoch seconds."""

    labels: Mapping[str, str]
    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Answer:
    """All samples of an answer; `partial` where the engine says that something is missing."""

    samples: tuple[Sample, ...]
    partial: bool = False


def parse(body: bytes) -> Answer:
    """Read the answer to an instant or a range query; raises TroubleError for all that is none."""
    try:
        answer = json.loads(body)
    except ValueError:
        raise TroubleError("HTML, not JSON" if body.lstrip()[:1] == b"<" else "answer is not JSON") from None
    except RecursionError:
        raise TroubleError("answer is not JSON") from None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise TroubleError(refusal(answer))
    try:
        samples = tuple(
            Sample(_labels(series["metric"]), _number(at), _number(value))
            for series in answer["data"]["result"]
            for at, value in (series["values"] if "values" in series else [series["value"]])
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise TroubleError("answer has no such shape") from None
    return Answer(samples, partial=bool(answer.get("warnings")) or answer.get("isPartial") is True)


def refusal(answer: Any) -> str:  # noqa: ANN401 - whatever JSON there was
    """Name an engine's complaint in a word, such as `bad_data` or `timeout`."""
    kind = answer.get("errorType") if isinstance(answer, dict) else None
    return f"error: {kind}" if isinstance(kind, str) and kind else "answer has no such shape"


def _labels(metric: dict[str, Any]) -> dict[str, str]:
    if not all(isinstance(text, str) for text in metric.values()):
        raise TypeError
    return dict(metric)


def _number(value: object) -> float:
    number = float(str(value))
    if not math.isfinite(number):
        raise TroubleError("NaN in the answer")
    return number
