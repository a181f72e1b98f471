"""Errors that are shown to a person, and their exit codes."""

from __future__ import annotations


class GaugeError(Exception):
    """What failed, where, and what to do, in one line; caught once, in `cli.py`."""

    exit_code = 1


class SettingError(GaugeError):
    """A setting that can't be: by flag, environment or file."""

    exit_code = 2


class AlreadyPublishingError(GaugeError):
    """Another publisher on this machine owns this node."""

    exit_code = 75
