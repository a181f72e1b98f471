"""claude-gauge: Claude Code's usage on dials that move the moment it happens."""

__version__ = "0.1.0"
HOMEPAGE = "https://github.com/claude-gauge/claude-gauge"
