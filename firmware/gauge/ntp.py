"""The time by SNTP, without blocking the needles."""

import asyncio
import socket

EPOCH_S = 2_208_988_800  # NTP counts from 1900


def seconds(answer: bytes) -> "int | None":
    """Read the seconds since 1970 from a server's answer; None for an invalid or impossible one."""
    if len(answer) < 48 or answer[0] & 7 != 4 or answer[1] == 0:
        return None
    counted = int.from_bytes(answer[40:44], "big")
    return counted - EPOCH_S + (0 if counted >= EPOCH_S else 1 << 32)  # the count starts again in 2036


async def ask(host: str, port: int = 123, patience_s: float = 3.0) -> "int | None":
    """Return the seconds since 1970, or None where nobody answers; `host` should be an address: a name blocks."""
    asker = None
    try:
        address = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0][-1]
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.setblocking(False)
        asker.sendto(b"\x1b" + bytes(47), address)
        for _ in range(int(patience_s * 50)):
            await asyncio.sleep(0.02)
            try:
                return seconds(asker.recv(64))
            except OSError:
                pass  # not yet
    except OSError as error:
        print("ntp:", repr(error))
    finally:
        if asker:
            asker.close()
    return None
