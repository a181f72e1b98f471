"""The least that could do the job: inotify on one folder, `json`, paho. What a person would write in an afternoon.

python -m benchmarks.bare FOLDER PORT; it counts every line, half or repeated, and knows no window: only its speed
matters here.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

MODIFY, CREATE = 0x2, 0x100


def main(folder: Path, port: int) -> None:
    """Publish the sum of all tokens at each event."""
    libc = ctypes.CDLL(None)
    descriptor = libc.inotify_init1(0)
    libc.inotify_add_watch(descriptor, os.fsencode(folder), MODIFY | CREATE)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    offsets: dict[str, int] = {}
    tokens = 0
    client.publish("bare/usage", json.dumps({"window_5h_tokens": 0}), retain=True)
    while True:
        os.read(descriptor, 65536)
        for path in folder.iterdir():
            with path.open("rb") as file:
                file.seek(offsets.get(path.name, 0))
                at = file.tell()
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    at += len(line)
                    usage = json.loads(line)["message"]["usage"]
                    tokens += sum(value for name, value in usage.items() if name.endswith("_tokens"))
                offsets[path.name] = at
        client.publish("bare/usage", json.dumps({"window_5h_tokens": tokens}), retain=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
