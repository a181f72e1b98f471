from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from claude_gauge.apps.broker.certificates import make_ca
from claude_gauge.system.net import trusting


def test_named_ca_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA that a person names is not held to the strictness that Python 3.13 begins with; the system's CAs are.

    Older ones are made strict here, as 3.13 is by itself.
    """
    usual = ssl.create_default_context

    def strict(*arguments: Any, **named: Any) -> ssl.SSLContext:  # noqa: ANN401 - ssl's signature
        context = usual(*arguments, **named)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    (tmp_path / "ca.crt").write_bytes(make_ca("own", datetime.now(UTC)).certificate)

    assert not trusting(tmp_path / "ca.crt").verify_flags & ssl.VERIFY_X509_STRICT
    assert trusting(None).verify_flags & ssl.VERIFY_X509_STRICT
    assert trusting(tmp_path / "ca.crt").verify_mode == ssl.CERT_REQUIRED
