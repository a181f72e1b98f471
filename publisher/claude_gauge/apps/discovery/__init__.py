"""The command `discovery`: what Home Assistant holds of us, and its removal."""
