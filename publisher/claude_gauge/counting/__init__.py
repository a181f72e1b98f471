"""From a transcript line to the figures of a payload; pure: no socket, thread, file or clock."""
