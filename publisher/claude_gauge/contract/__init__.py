"""The payload and what every reader must agree on; pure: no socket, thread, file or clock."""
