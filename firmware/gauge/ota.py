"""Updates over the air: a signed manifest says which files; each is fetched, checked, and tried before it is trusted.

All travels as retained messages over the link that is there anyway. Only who holds the device's key can sign: the
broker, and whoever else may publish there, can't.
"""

import asyncio
import hashlib
import json
import os

import slots
from gauge import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE_LIMIT = 16_384
MANIFEST_LIMIT = 6144
PATIENCE_S = 30
AHEAD_S = 86_400  # a serial number is the time of its signature: one from the future would bar all that follow
UNKNOWN_AHEAD_S = 10 * 366 * 86_400  # where nobody has set the time


def signature(key: bytes, text: bytes) -> bytes:
    """Return the HMAC-SHA256 of a text; MicroPython has no hmac module."""
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    key = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes([part ^ 0x36 for part in key]) + text).digest()
    return hashlib.sha256(bytes([part ^ 0x5C for part in key]) + inner).digest()


def manifest(key: bytes, payload: bytes) -> "dict | None":
    """Return what a signed manifest says, or None if it is not signed by our key or not valid."""
    signed, _, text = payload.partition(b"\n")
    if not same(signed, signature(key, text).hex().encode()):
        return None
    try:
        given = json.loads(text.decode())
        files = [(str(path), int(size), str(digest)) for path, size, digest in given["files"]]
        wanted = {"version": str(given["version"]), "serial": int(given["serial"]), "files": files}
        if given.get("offer") is True:
            wanted["offer"] = True
    except (ValueError, KeyError, TypeError):
        return None
    for path, size, digest in files:
        if not (plain(path) and 0 <= size <= FILE_LIMIT and len(digest) == 64):
            return None
    return wanted


def newer(serial: int, stored: int, utc_s: "int | None", at_least_s: int) -> bool:
    """Return whether a manifest is newer than what runs; neither number counts where it lies in the future."""
    latest = utc_s + AHEAD_S if utc_s is not None else at_least_s + UNKNOWN_AHEAD_S
    return (0 if stored > latest else stored) < serial <= latest


def plain(path: str) -> bool:
    """Return whether a path stays within the firmware's folder."""
    folder, _, name = path.partition("/")
    return folder == "gauge" and name.rpartition(".")[2] in ("py", "mpy") and "/" not in name and ".." not in name


def check(path: str, content: bytes, size: int, digest: str) -> None:
    """Raise ValueError for a file that is not the one in the manifest."""
    if len(content) != size or hashlib.sha256(content).digest().hex() != digest:
        raise ValueError(path + " is not what was signed")


def same(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    differs = len(one) ^ len(other)
    for left, right in zip(one, other):
        differs |= left ^ right
    return differs == 0


class Update:
    """Waits for a newer manifest, fetches its files into the spare slot, and starts it on trial.

    An offer waits for `install`, which Home Assistant's button calls.
    """

    def __init__(self, settings: "dict[str, Any]", link: "Any", board: "Any") -> None:
        self._key = settings["ota_key"].encode()
        self._prove_ms = settings["prove_s"] * 1000
        state = slots.load()
        self._trusted, self._crashed = state["proven"], state["crashes"] > 0
        self._link = link
        self._board = board
        self._offer: dict | None = None
        self._topic = link.root + "/update"
        self._wanted = ""
        self._came: bytes | None = None
        self._task: Any = None
        self._since_ms: int | None = None
        link.subscribe(self._topic, MANIFEST_LIMIT + 128)

    def receive(self, topic: str, payload: bytes) -> None:
        """Take in a manifest or a file."""
        if topic == self._topic and self._task is None:
            self._consider(payload)
        elif topic == self._wanted:
            self._came = payload

    def _consider(self, payload: bytes) -> None:
        wanted = manifest(self._key, payload) if payload else None
        offered = self._offer
        self._offer = None
        if payload and wanted is None:
            self._say("refused: not signed with this device's key")
        elif wanted and newer(wanted["serial"], slots.load()["serial"], self._board.utc_s(), self._board.at_least_s()):
            if "offer" in wanted:
                self._offer = wanted
            else:
                self._task = asyncio.create_task(self._install(wanted))
        elif wanted and wanted["serial"] > self._board.at_least_s() + AHEAD_S:
            self._say("refused: signed in the future; is the sender's clock right?")
        if (self._offer or offered) and not self._task:
            self.publish_state()

    def install(self) -> None:
        """Take the update that was offered."""
        if self._offer and self._task is None:
            self._task = asyncio.create_task(self._install(self._offer))
        elif self._task is None:
            self._say("nothing is offered")

    def publish_state(self, percent: "int | None" = None) -> None:
        """Publish the running version, the offered one and the progress, in Home Assistant's form."""
        offered = self._offer["version"] if self._offer else VERSION
        state: dict[str, Any] = {
            "installed_version": VERSION,
            "latest_version": offered,
            "title": "claude-gauge firmware",
        }
        state["in_progress"] = percent is not None
        state["update_percentage"] = percent
        self._link.publish("firmware", json.dumps(state).encode())

    def tend(self, now_ms: int, *, proven: bool) -> None:
        """Accept the version on trial once it was connected for long enough; reject it if it never is."""
        if self._trusted:
            if self._crashed and proven and now_ms > self._prove_ms:
                self._crashed = False
                slots.steady()
            return
        if not proven:
            self._since_ms = None
        elif self._since_ms is None:
            self._since_ms = now_ms
        elif now_ms - self._since_ms > self._prove_ms:
            slots.prove()
            self._trusted = True
            self._say("running " + VERSION)
        if not self._trusted and now_ms > 10 * self._prove_ms:
            print("ota: this version never came to work")
            self._board.reset()

    def _say(self, text: str) -> None:
        print("ota:", text)
        self._link.publish("update/state", text.encode())

    async def _install(self, wanted: dict) -> None:
        self._say("fetching " + wanted["version"])
        try:
            slot = slots.spare()
            clear(slot)
            for place, (path, size, digest) in enumerate(wanted["files"]):
                percent = 100 * place // len(wanted["files"])
                self._say(f"fetching {wanted['version']}: {percent} %")
                self.publish_state(percent)
                content = await self._fetch(digest)
                check(path, content, size, digest)
                with open(slot + "/" + path, "wb") as file:
                    file.write(content)
            slots.adopt(slot, wanted["serial"])
        except (OSError, ValueError, MemoryError) as error:
            self._say("failed: " + str(error))
            await asyncio.sleep(PATIENCE_S)
            self.publish_state()
            self._task = None  # the same manifest is tried again when it comes again, at the next session
            return
        self._say("starting " + wanted["version"])
        await asyncio.sleep(1)
        self._board.reset()

    async def _fetch(self, digest: str) -> bytes:
        self._came, self._wanted = None, self._topic + "/" + digest[:16]
        self._link.subscribe(self._wanted, FILE_LIMIT + 128)
        try:
            for _ in range(PATIENCE_S * 20):
                if self._came is not None:
                    return self._came
                await asyncio.sleep(0.05)
        finally:
            self._link.unsubscribe(self._wanted)
        raise ValueError("no file came on " + self._wanted)


def clear(slot: str) -> None:
    """Empty a slot and make its folder."""
    for folder in (slot, slot + "/gauge"):
        try:
            os.mkdir(folder)
        except OSError:
            pass  # it is there
    for name in os.listdir(slot + "/gauge"):
        os.remove(slot + "/gauge/" + name)
