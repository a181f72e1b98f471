from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from claude_gauge.contract.usage import MAX_BYTES, MAX_COUNT, Part, Usage, family, node_of, schema, stamp


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
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/k2m9x7q4w1zp", "other"),
        ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abcdefghijkl", "other"),
        ("arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:provisioned-model/abc", "other"),
        ("arn:aws:sagemaker:us-east-1:123456789012:endpoint/mine", "other"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0", "sonnet"),
        ("arn:aws:bedrock:us-east-1:123456789012:custom-model/anthropic.claude-haiku-4/k2m9x7q4w1zp", "other"),
        ("projects/acme/locations/us-east5/endpoints/1234567890123456789", "other"),
        ("k2m9x7q4w1zp", "other"),
        ("123456789012", "other"),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "other"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/abcdefghijkl", "other"),
        ("bedrock/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl", "other"),
        ("claude-2.1", "claude"),
        ("deepseek-v3-250324", "deepseek"),
        ("qwen3-coder-480b", "qwen3"),
        ("", ""),
    ],
)
def test_family(model: str, expected: str) -> None:
    """A model id of any provider gives its family; an unknown one its own first word."""
    assert family(model) == expected


LARGEST = Usage(
    rate_1m=MAX_COUNT - 0.123, window_5h_tokens=MAX_COUNT, window_5h_pct=0.1234567890123, thinking_ratio=1 / 3,
    cache_hit_rate=1 / 3, last_model="x" * 24, hot=False, warn=False, stall=False, idle=False,
    updated_at=stamp(1.8e9), window_5h_resets_at=stamp(1.8e9), window_7d_pct=1 / 3,
    window_7d_resets_at=stamp(1.8e9), window_7d_tokens=MAX_COUNT, minutes_to_limit=999999.123456789,
    tokens_total=MAX_COUNT,
    limit_before_reset=False, waiting=False, fuel_source="ceiling", account="a" * 16, node="n" * 40,
    hot_node="h" * 40, limit_name="l" * 24, limit_pct=1 / 3,
    sources={name * 8: Part(source="s" * 16, ok=name == "b", why="w" * 28) for name in "abcd"},
)  # fmt: skip


def test_largest_payload_fits_a_microcontroller() -> None:
    """The longest payload that the contract allows stays under its limit: the lifetime sum and the reasons give way."""
    payload = LARGEST.to_json()
    reasons = {name: part["why"] for name, part in json.loads(payload)["sources"].items()}

    assert len(payload) < MAX_BYTES
    assert "tokens_total" not in json.loads(payload)
    assert reasons == {"a" * 8: None, "b" * 8: None, "c" * 8: None, "d" * 8: None}


def test_usual_payload_keeps_its_reasons() -> None:
    """What fits is sent whole; where little is too much, a healthy part's reason goes first, then the last one's."""
    usual = LARGEST.model_copy(update={"node": "desk", "hot_node": None, "account": "work", "limit_name": None})
    tight = LARGEST.model_copy(update={"hot_node": None, "limit_name": "seven_day_opus"})

    assert _reasons(usual) == dict.fromkeys("abcd", True)
    assert _reasons(tight) == {"a": True, "b": False, "c": True, "d": False}


def _reasons(usage: Usage) -> dict[str, bool]:
    return {name[0]: bool(part["why"]) for name, part in json.loads(usage.to_json())["sources"].items()}


def test_schema_is_open_and_the_constructor_strict() -> None:
    """Readers of the schema accept fields that are added one day; the publisher itself can't invent one."""
    payload = {**json.loads(LARGEST.model_dump_json()), "field_of_tomorrow": 1}

    assert '"additionalProperties": false' not in json.dumps(schema())
    with pytest.raises(ValidationError):
        Usage.model_validate(payload)


@pytest.mark.parametrize(("level", "node"), [
    ("desk", "desk"), ("all", "all"), ("All", ""), ("device", ""), ("Device_x", ""), ("", ""), ("a b", ""),
    ("n" * 41, ""), ("\u202edesk", ""), ("$x", ""), ("device-x", "device-x"),
])  # fmt: skip
def test_node_of_a_topic(level: str, node: str) -> None:
    """Anybody may write below our topics: what can be no node's name, boards' branch among it, is none."""
    assert node_of(f"claude-gauge/{level}/usage") == node
