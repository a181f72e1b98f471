from __future__ import annotations

import pytest
from tests.support.http import get

from claude_gauge.config import Settings, load
from claude_gauge.errors import GaugeError
from claude_gauge.outlets.web.shim import Shim, serve


def test_off() -> None:
    """`--http off` listens nowhere."""
    assert serve(Settings(http="off"), dict) is None


def test_scales_and_names_from_the_settings() -> None:
    """Redline, cache floor, node and further names are those of the settings."""
    settings = load(
        {},
        {
            "CLAUDE_GAUGE_HTTP": "127.0.0.1:0",
            "CLAUDE_GAUGE_HTTP_HOSTS": "gauge.home, other.home",
            "CLAUDE_GAUGE_REDLINE": "400000",
            "CLAUDE_GAUGE_CACHE_FLOOR": "0.3",
            "CLAUDE_GAUGE_NODE": "studio",
        },
    ).settings
    shim = serve(settings, dict)
    assert shim is not None
    scales = get(shim.port, "/scales", host="gauge.home").json()
    shim.stop()

    assert scales["node"] == "studio"
    assert scales["gauges"][1]["zones"] == [{"start": 400_000, "end": 500_000, "role": "danger"}]
    assert scales["gauges"][3]["zones"][0] == {"start": 0, "end": 0.3, "role": "caution"}


def test_chosen_address_in_use(shim: Shim) -> None:
    """An address that the person chose and that is taken stops the start."""
    with pytest.raises(GaugeError, match="choose another address"):
        serve(Settings(http=f"127.0.0.1:{shim.port}"), dict)


def test_default_address_in_use(shim: Shim, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the default address is taken by something else, it is reported, and all but HTTP goes on."""
    taken = f"127.0.0.1:{shim.port}"
    monkeypatch.setattr(Settings.model_fields["http"], "default", taken)

    assert serve(Settings(http=taken), dict) is None
    assert "choose another address" in caplog.text
