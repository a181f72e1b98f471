"""The contract: the payload that every reader gets, and its topics.

Everything else follows from this file: Home Assistant's discovery, the JSON schema, the
README's table, the firmware's field names. A field may be added; none is renamed or removed.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1
MAX_BYTES = 1024
HEARTBEAT_S = 15.0
MISSED_HEARTBEATS = 3
EXPIRY_S = int(4 * HEARTBEAT_S)
ONLINE, OFFLINE = "online", "offline"
ROOT = "claude-gauge"  # the first level of all our topics
FLEET_NODE = "all"
BOARDS = "device"  # claude-gauge/device/<board>/…; in Home Assistant claude_gauge_device_<board>
ALERT_EVENT = "threshold"
# The settings that Home Assistant may set where the broker has users, by the last level of their topic.
ORDERS = {"ceiling": "ceiling_5h", "redline": "redline"}
DEMO_SOURCE = "demo"  # in `sources`: the figures are made up; the fleet passes such a payload over unless asked
NODE_PATTERN = r"^[A-Za-z0-9_-]{1,40}$"

MAX_COUNT = 10**15  # bounds, so that no payload can outgrow MAX_BYTES

# The seed's figures, which can't be null, and the part in `sources` that stands for each; see `Usage.figure`.
PART_OF = {
    "rate_1m": "tach",
    "cache_hit_rate": "tach",
    "window_5h_tokens": "fuel",
    "window_5h_pct": "fuel",
    "thinking_ratio": "thinking",
}

Share = Annotated[float, Field(ge=0, le=1), AfterValidator(lambda share: round(share, 6))]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT, json_schema_extra={"unit": "tokens"})]
PartName = Annotated[str, Field(max_length=8)]
Stamp = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]


class Part(BaseModel):
    """Where one part of the payload came from and whether that source is healthy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(max_length=16)
    ok: bool
    why: str | None = Field(default=None, max_length=28)


class Usage(BaseModel):
    """One moment of Claude Code's usage on one node; computed once, the same for every reader."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate_1m: Annotated[float, AfterValidator(lambda rate: round(rate, 3))] = Field(
        ge=0,
        le=MAX_COUNT,
        allow_inf_nan=False,
        title="Token rate",
        description="Tokens per minute over the last 60 s",
        json_schema_extra={"unit": "tokens/min"},
    )
    window_5h_tokens: Count = Field(title="5-hour tokens", description="Tokens in the current 5-hour block")
    window_5h_pct: Share = Field(title="5-hour window used", description="Share of the 5-hour window used")
    thinking_ratio: Share = Field(
        title="Thinking share", description="Thinking tokens / output tokens over the last 5 minutes"
    )
    cache_hit_rate: Share = Field(
        title="Cache hit rate", description="Cache reads / all input tokens over the last 5 minutes"
    )
    last_model: str = Field(
        max_length=24, title="Last model", description="Model family of the newest message; empty when none was seen"
    )
    hot: bool = Field(title="Hot", description="The rate is above the redline")
    warn: bool = Field(
        title="Warning", description="Fuel above 80 %, a limit of the plan reached, or cache hits below the floor"
    )
    stall: bool = Field(
        title="Stalled", description="No telemetry for the silence window, or its source can't be reached"
    )
    idle: bool = Field(title="Idle", description="The publisher lives, no tokens in the last 60 s")
    updated_at: Stamp = Field(title="Updated", description="When this payload was computed")

    window_5h_resets_at: Stamp | None = Field(
        default=None, title="5-hour window resets", description="When the 5-hour window resets"
    )
    window_7d_pct: Share | None = Field(
        default=None, title="7-day window used", description="Share of the plan's 7-day window used"
    )
    window_7d_resets_at: Stamp | None = Field(
        default=None, title="7-day window resets", description="When the plan's 7-day window resets"
    )
    window_7d_tokens: Count | None = Field(default=None, title="7-day tokens", description="Tokens in the last 7 days")
    tokens_total: Count | None = Field(
        default=None, title="Tokens so far", description="All tokens that this node ever counted; it only grows"
    )
    minutes_to_limit: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        title="Time to limit",
        description="Minutes until the window is used up at the present pace",
        json_schema_extra={"unit": "min"},
    )
    limit_before_reset: bool | None = Field(
        default=None, title="Limit before reset", description="The window runs dry before it resets"
    )
    waiting: bool | None = Field(default=None, title="Waiting for you", description="Claude Code waits for the person")
    fuel_source: Literal["plan", "ceiling"] | None = Field(
        default=None,
        title="Fuel source",
        description="The 5-hour share is the plan's own figure, or tokens / ceiling; null while unknown",
    )
    limit_name: str | None = Field(
        default=None,
        max_length=24,
        title="Fullest limit",
        description="The fullest of all limits that the plan reports, e.g. `seven_day_opus`: what stops work first",
    )
    limit_pct: Share | None = Field(
        default=None, title="Fullest limit used", description="Share of that limit that is used"
    )
    sources: dict[PartName, Part] = Field(
        default_factory=dict,
        max_length=4,
        title="Sources",
        description="Where each part came from and whether that source is healthy",
    )
    account: str | None = Field(
        default=None, max_length=16, title="Account", description="Label of the account, where one was set"
    )
    node: str | None = Field(
        default=None, pattern=NODE_PATTERN, title="Node", description="Name of the publishing machine"
    )
    hot_node: str | None = Field(
        default=None, pattern=NODE_PATTERN, title="Hot node", description="In the merged payload: the hottest node"
    )
    schema_version: Literal[1] = Field(
        default=SCHEMA_VERSION, title="Schema version", description="Version of this contract"
    )

    @property
    def made_up(self) -> bool:
        """Whether a demo made these figures."""
        return any(part.source == DEMO_SOURCE for part in self.sources.values())

    def figure(self, field: str) -> float | None:
        """Return one of the figures in PART_OF as readers show it: None where it is unknown.

        The field itself keeps its last value, or 0 where there never was one. It is unknown where its part's source is
        not ok, and it is either the thinking share, or 0 beside `stall` (nothing was kept). The plan's own share does
        not depend on the source of the tokens.
        """
        value = float(getattr(self, field))
        part = self.sources.get(PART_OF[field])
        if part is None or part.ok or (field == "window_5h_pct" and self.fuel_source):
            return value
        return None if field == "thinking_ratio" or (self.stall and not value) else value

    def to_json(self) -> bytes:
        """Return the payload's bytes, the same wherever it is read: UTF-8 JSON under MAX_BYTES.

        Where all is at its longest, `tokens_total` is left out first, then the reasons in `sources`: those of healthy
        parts, then from the last part to the first.
        """
        payload = self.model_dump_json().encode()
        parts, last_first = dict(self.sources), list(self.sources)[::-1]
        for name in ["", *sorted(last_first, key=lambda name: not parts[name].ok)]:
            if len(payload) < MAX_BYTES:
                break
            if name:
                parts[name] = parts[name].model_copy(update={"why": None})
            shorter = self.model_copy(update={"sources": dict(parts)})
            payload = shorter.model_dump_json(exclude={"tokens_total"}).encode()
        return payload


def schema() -> dict[str, Any]:
    """Return the payload's JSON schema as readers see it: fields may be added, so unknown ones are allowed."""
    whole = Usage.model_json_schema(mode="serialization")
    for each in (whole, *whole["$defs"].values()):
        del each["additionalProperties"]
    return whole


def node_fault(name: str) -> str:
    """Return why a name can't be a node's, or an empty string if it can."""
    if re.fullmatch(NODE_PATTERN, name) is None:
        return "it has letters, digits, _ and - only, 40 at most"
    lower = name.lower()  # Home Assistant's entities have no capitals: `All` would be taken for `all`
    if lower == FLEET_NODE:
        return f"`{FLEET_NODE}` is the name of all nodes merged"
    if lower == BOARDS or lower.startswith(f"{BOARDS}_"):
        return f"`{BOARDS}` and `{BOARDS}_…` are the names of boards"
    return ""


def node_of(topic: str) -> str:
    """Return the node that a topic below ours is of, `all` among them; "" where its level can be no node's name."""
    level = topic.split("/")[1]
    return level if level == FLEET_NODE or not node_fault(level) else ""


def usage_topic(node: str) -> str:
    """Topic of a node's retained payload."""
    return f"claude-gauge/{node}/usage"


def status_topic(node: str) -> str:
    """Topic of a node's retained `online` / `offline`."""
    return f"claude-gauge/{node}/status"


def alert_topic(node: str) -> str:
    """Topic of a node's alerts: events, not retained."""
    return f"claude-gauge/{node}/alert"


def settings_topic(node: str) -> str:
    """Topic of the ceiling and the redline that hold on a node, where Home Assistant may set them."""
    return f"claude-gauge/{node}/settings"


def order_topic(node: str, name: str) -> str:
    """Topic on which Home Assistant sets one of ORDERS."""
    return f"claude-gauge/{node}/set/{name}"


def stamp(epoch_s: float) -> str:
    """Write a time (epoch seconds) as the contract does: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_NOISE = frozenset({"claude", "anthropic", "latest", "preview", "thinking", "instant", "models", "model"})
_SHORTEST_ID = 10
# A resource of somebody's account, named by an id: a profile, an endpoint, a model of their own; or a UUID.
_RESOURCE = re.compile(
    r"(.*/)?arn:[^/]*:(?!foundation-model/|inference-profile/[a-z-]+\.)"
    r"|projects/.*/endpoints/|[0-9a-f]{8}(-[0-9a-f]{4}){3}-"
)


@functools.lru_cache(maxsize=128)  # asked at each payload
def family(model: str) -> str:
    """Name the family of a model id: `claude-3-5-sonnet-20241022` is `sonnet`; any other by its own first word.

    An id that names a resource of somebody's account and no model is `other`.
    """
    name = model.lower()
    short = name.rpartition("/")[2]
    _, claude, last = short.rpartition("claude-")
    words = [word for word in re.split(r"[^a-z0-9]+", last) if word and word not in _NOISE]
    named = [word for word in words if len(word) > 2 and word[0].isalpha()]  # noqa: PLR2004 - "v1", "us", "o3"
    first = (named or ["claude"] * ("claude" in short) or words or [""])[0]  # `claude-2.1` names no family
    if not claude and (_RESOURCE.match(name) or _is_id(first)):
        return "other"
    return first[:24]


def _is_id(word: str) -> bool:
    """Return whether a word is a number, or letters and digits mixed as only ids are."""
    return len(word) >= _SHORTEST_ID and any(each.isdigit() for each in word)
