"""The command `calibrate`: proposes a ceiling and a redline from what was used so far."""
