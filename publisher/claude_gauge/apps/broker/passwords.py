"""Passwords that no person has to remember, and Mosquitto's way to keep them."""

from __future__ import annotations

import base64
import hashlib
import secrets

# Slow hashing helps against guessed passwords; ours are 192 bits of chance, and the broker hashes on its one thread.
ROUNDS = 1000


def make() -> str:
    """Make a password."""
    return secrets.token_urlsafe(24)


def line(name: str, password: str) -> str:
    """Write a line of Mosquitto's password file; `mosquitto_passwd` would want the password in its arguments."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS)
    return f"{name}:$7${ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
