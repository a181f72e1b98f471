"""JSON by the C code of the `json` module, without the 8 ms that importing `json` and `re` takes.

Only for `statusline` and `hook`: Claude Code waits for them at every turn and at every tool call.
"""

from __future__ import annotations

try:
    from _json import encode_basestring_ascii, make_scanner
except ImportError:  # an interpreter without it
    make_scanner = None  # type: ignore[misc, assignment]

_SPACE = " \t\r\n"


class _Plain:
    """What the scanner is asked to make of JSON: plain values, as `json.loads` does."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 - never filled: the scanner makes its own

    @staticmethod
    def parse_constant(name: str) -> float:
        """Read NaN and the infinities."""
        return float(name)


_PLAIN = _Plain()


def loads(text: bytes) -> object:
    """Read the JSON value that `text` begins with; raises ValueError or RecursionError for anything else."""
    decoded = text.decode("utf-8", "replace").removeprefix("\ufeff").lstrip(_SPACE)
    try:
        scan = make_scanner(_PLAIN)  # type: ignore[arg-type]  # anything with these attributes
    except (AttributeError, TypeError):  # this Python has no such scanner, or it needs other attributes
        return _slow_loads(decoded)
    try:
        return scan(decoded, 0)[0]
    except StopIteration:
        raise ValueError("no JSON") from None


def _slow_loads(text: str) -> object:
    from json import loads as json_loads  # noqa: PLC0415 - the fallback

    value: object = json_loads(text)
    return value


def dumps(value: object) -> str:
    """Write plain values as JSON; what is none of them becomes null."""
    if isinstance(value, str):
        return _quoted(value)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value) if value - value == 0 else "null"  # NaN and the infinities are no JSON
    if isinstance(value, list):
        return "[" + ", ".join([dumps(each) for each in value]) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join([_quoted(str(name)) + ": " + dumps(each) for name, each in value.items()]) + "}"
    return "null"


def _quoted(text: str) -> str:
    if make_scanner is None:
        from json import dumps as slow_dumps  # noqa: PLC0415 - as above

        return slow_dumps(text)
    quoted: str = encode_basestring_ascii(text)
    return quoted
