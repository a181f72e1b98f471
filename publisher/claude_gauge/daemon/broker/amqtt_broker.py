"""The embedded broker without Mosquitto: amqtt on loopback, with limits that amqtt lacks.

It speaks MQTT 3.1.1 only. Left to itself it falls silent at MQTT 5, takes packets of any size and
queues without limit for a reader that is too slow; here each of these ends the connection. It also
sends every new client what others subscribed to; here it does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter  # type: ignore[import-untyped]
from amqtt.broker import Broker  # type: ignore[import-untyped]
from amqtt.session import Session  # type: ignore[import-untyped]

CONNECT, LEVEL_311 = 0x10, (3, 4)
REFUSED_VERSION = b"\x20\x02\x00\x01"
CONNECT_S = 10.0
LARGEST_PACKET = 64 * 1024
SLOWEST_S = 2.0
MOST_CLIENTS = 500
LISTENER = "default"


class BoundedReader(ReaderAdapter):  # type: ignore[misc]
    """A connection whose first bytes were read already, and that takes no large packet."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        self._head, self._reader = head, reader

    async def read(self, n: int = -1) -> bytes:
        """Read so many bytes; too many end the connection."""
        if n > LARGEST_PACKET:
            return b""
        head, self._head = self._head[:n], self._head[n:]
        return head + await self._reader.readexactly(n - len(head)) if n > len(head) else head

    def feed_eof(self) -> None:
        """Act as if the peer had closed."""
        self._reader.feed_eof()


class BoundedWriter(StreamWriterAdapter):  # type: ignore[misc]
    """A connection that ends when its peer does not take what it is sent: amqtt would queue for it without limit."""

    async def drain(self) -> None:
        """Wait until the peer takes more; end the connection where that takes too long."""
        try:
            async with asyncio.timeout(SLOWEST_S):
                await super().drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionResetError from None


class QuietBroker(Broker):  # type: ignore[misc]
    """Sends retained messages only to those who subscribed to them."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribers = self.subscriptions.get(subscription[0], ())
        if any(subscriber.client_id == session.client_id for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


class VersionGate:
    """Accepts clients that speak MQTT 3.1.1, as many as are allowed, and passes them to amqtt."""

    def __init__(self) -> None:
        anyone = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        self._broker = QuietBroker(
            {"listeners": {LISTENER: {"type": "external", "bind": "127.0.0.1"}}, "plugins": anyone}
        )
        self._clients = 0

    async def serve(self, port: int) -> None:
        """Serve until this task is cancelled."""
        await self._broker.start()
        server = await asyncio.start_server(self._client, "127.0.0.1", port)
        print("amqtt running", flush=True)  # noqa: T201 - whoever started us waits for this
        async with server:
            await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            async with asyncio.timeout(CONNECT_S):
                head, level = await read_head(reader)
            if level not in LEVEL_311 or self._clients > MOST_CLIENTS:
                writer.write(REFUSED_VERSION if level else b"")
                await writer.drain()
            else:
                await self._broker.external_connected(BoundedReader(head, reader), BoundedWriter(writer), LISTENER)
        except (OSError, EOFError, TimeoutError):
            pass  # it left, or said nothing in time
        finally:
            self._clients -= 1
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """Read the beginning of CONNECT; return it and the protocol level, 0 where it is no CONNECT."""
    head = await reader.readexactly(2)
    while head[-1] & 0x80 and len(head) < 5:  # noqa: PLR2004 - the length has four bytes at most
        head += await reader.readexactly(1)
    if head[0] != CONNECT or head[-1] & 0x80:
        return head, 0
    name = await reader.readexactly(2)
    length = int.from_bytes(name)
    if length not in {4, 6}:  # MQTT, and MQIsdp of version 3.1
        return head + name, 0
    name += await reader.readexactly(length + 1)
    return head + name, name[-1]


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    serving = asyncio.ensure_future(VersionGate().serve(port))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    asyncio.run(main(int(sys.argv[1])))
