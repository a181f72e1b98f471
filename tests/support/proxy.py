"""A TCP proxy that does what networks do: waits, goes half dead, resets, and sends garbage."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Literal, Self

from tests.support.net import PATIENCE_S, free_port

Mode = Literal["pass", "slow", "half-open", "reset", "garbage"]
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: close by RST
SLOW_S = 0.3
NOISE = bytes(range(256)) * 8


class Proxy:
    """Stands between a client and `port`; `mode` may change at any moment, for connections that are open, too."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._behind = port
        self._mode: Mode = "pass"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self.accepted = 0

    @property
    def url(self) -> str:
        """The broker's URL by way of this proxy."""
        return f"mqtt://127.0.0.1:{self.port}"

    def set(self, mode: Mode) -> None:
        """Change what happens from now on; a reset and garbage hit the open connections at once."""

        async def change() -> None:
            self._mode = mode
            for writer in list(self._writers):
                if mode == "reset":
                    self._reset(writer)
                elif mode == "garbage":
                    writer.write(NOISE)

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(PATIENCE_S)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        peer: socket.socket = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._mode == "reset":
            self._reset(writer)
            return
        self._writers.add(writer)
        try:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
            if self._mode == "garbage":
                writer.write(NOISE)
            ways = self._pump(reader, behind_writer), self._pump(behind_reader, writer)
            await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            for each in (writer, behind_writer):
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self._mode == "half-open":
                    await asyncio.Event().wait()  # this connection never says anything again, nor closes
                if self._mode == "slow":
                    await asyncio.sleep(SLOW_S)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            self._server.close()
            self._mode = "pass"
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()
