from __future__ import annotations

import pytest

from claude_gauge.contract.usage import MAX_BYTES, MAX_COUNT, Part, Usage, family, stamp


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-opus-4-6", "opus"),
        ("claude-3-5-sonnet-20241022", "sonnet"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "sonnet"),
        ("arn:aws:bedrock:us-east-1:123:inference-profile/us.anthropic.claude-haiku-4", "haiku"),
        ("claude-fable-5", "fable"),
        ("claude-opus-5-5[1m]", "opus"),
        ("opus", "opus"),
        ("gpt-4o", "gpt"),
        ("o3", "o3"),
        ("<script>alert(1)</script>", "script"),
        ("", ""),
    ],
)
def test_family(model: str, expected: str) -> None:
    """A model id of any provider gives its family; an unknown one its own first word."""
    assert family(model) == expected


def test_largest_payload_fits_a_microcontroller() -> None:
    """The longest payload that the contract allows stays under its limit."""
    usage = Usage(
        rate_1m=MAX_COUNT - 0.123, window_5h_tokens=MAX_COUNT, window_5h_pct=0.123456, thinking_ratio=0.123456,
        cache_hit_rate=0.123456, last_model="x" * 24, hot=False, warn=False, stall=False, idle=False,
        updated_at=stamp(1.8e9), window_5h_resets_at=stamp(1.8e9), window_7d_pct=0.123456,
        window_7d_resets_at=stamp(1.8e9), window_7d_tokens=MAX_COUNT, minutes_to_limit=999999.1,
        limit_before_reset=False, waiting=False, fuel_source="ceiling", account="a" * 16, node="n" * 40,
        sources={name * 8: Part(source="s" * 16, ok=False, why="w" * 28) for name in "abcd"},
    )  # fmt: skip

    assert len(usage.to_json()) < MAX_BYTES
