"""Look-ups that block, and words for what went wrong. Runs under CPython and under MicroPython."""

import asyncio

from gauge import lamps, names, words


class Clock:
    """A clock that half a second passes by at each look, and that a look-up holds up."""

    def __init__(self) -> None:
        self.now = 0

    def ms(self) -> int:
        """Return the time."""
        self.now += 500
        return self.now


class Known:
    """What the board remembers."""

    def __init__(self, addresses: "dict | None" = None) -> None:
        self.values = {"addresses": addresses or {}}

    def get(self, name: str, default: object) -> object:
        """Return what is known."""
        return self.values.get(name, default)

    def keep(self, name: str, value: dict) -> None:
        """Note something."""
        self.values[name] = value


class Network:
    """Name servers: each look-up takes its time, and returns what it is given."""

    def __init__(self, takes_ms: int, addresses: "dict | None" = None, known: "dict | None" = None) -> None:
        self.clock = Clock()
        self.takes_ms = takes_ms
        self.addresses = addresses or {}
        self.asked: list = []
        self.fed: list = []
        self.known = Known(known)
        self.names = names.Names(self.clock, self.look_up, self.feed, self.known)

    def look_up(self, host: str) -> str:
        """Block, and answer."""
        self.asked.append(host)
        self.clock.now += self.takes_ms
        if host not in self.addresses:
            raise OSError(-202)
        return str(self.addresses[host])

    def feed(self) -> None:
        """Feed the watchdog."""
        self.fed.append(self.clock.now)

    def find(self, host: str) -> str:
        """Look a name up, as a task would."""
        try:
            return asyncio.run(self.names.find(host))
        except OSError:
            return ""


def test_addresses_are_not_looked_up() -> None:
    """What is an address already costs nothing."""
    network = Network(14_000)

    assert [network.find(host) for host in ("10.0.0.2", "fe80::1")] == ["10.0.0.2", "fe80::1"]
    assert network.asked == []
    assert not names.numeric("broker.lan")


def test_watchdog_is_fed_before_every_look_up() -> None:
    """Three names at two dead servers, all at once: between two feeds lies one look-up, with a breath after it."""
    network = Network(14_000)

    failed: list = []

    async def ask(host: str) -> None:
        try:
            await network.names.find(host)
        except OSError as error:
            failed.append(error)

    async def all_at_once() -> None:
        await asyncio.gather(*[ask(host) for host in ("broker.lan", "pool.ntp.org", "gauge.local")])

    asyncio.run(all_at_once())

    assert len(network.asked) == len(network.fed) == len(failed) == 3
    gaps = [after - before for before, after in zip(network.fed, network.fed[1:])]
    assert min(gaps) >= 14_000 + names.BREATH_MS
    assert max(gaps) < 20_000


def test_looked_up_once() -> None:
    """A name whose address serves is not looked up again, also after a restart."""
    network = Network(100, {"broker.lan": "10.0.0.2"})
    assert [network.find("broker.lan") for _ in range(5)] == ["10.0.0.2"] * 5
    assert network.asked == ["broker.lan"]

    again = Network(100, {}, network.known.values["addresses"])
    assert again.find("broker.lan") == "10.0.0.2"
    assert again.asked == []


def test_doubted_address_is_looked_up_again() -> None:
    """An address that did not serve is looked up again, but no more often than once a minute."""
    network = Network(100, {"broker.lan": "10.0.0.9"}, {"broker.lan": "10.0.0.2"})
    network.names.doubt("broker.lan")
    assert network.find("broker.lan") == "10.0.0.9"
    network.names.doubt("broker.lan")
    assert network.find("broker.lan") == "10.0.0.9"
    assert network.asked == ["broker.lan"]

    network.clock.now += names.AGAIN_MS
    network.find("broker.lan")
    assert len(network.asked) == 2


def test_last_address_serves_where_a_look_up_fails() -> None:
    """When no name server answers, the last address is tried."""
    network = Network(14_000, {}, {"broker.lan": "10.0.0.2"})
    network.names.doubt("broker.lan")

    assert network.find("broker.lan") == "10.0.0.2"
    assert network.asked == ["broker.lan"]
    assert network.find("elsewhere.lan") == ""


def test_errors_in_words() -> None:
    """What a socket says in numbers is put into words, whatever the chip calls it."""
    for number, text in ((-202, "name"), (104, "broke off"), (113, "reached"), (116, "no answer"), (111, "listens")):
        assert text in words.cause(OSError(number)), number
    assert "time right" in words.cause(ValueError("The certificate validity starts in the future"))
    assert "not one of our CA's" in words.cause(OSError(-9984, "MBEDTLS_ERR_X509_CERT_VERIFY_FAILED"))
    assert words.cause(MemoryError()) == "MemoryError"
    assert words.refusal(5) == "user, password or rights"
    assert words.refusal(99)
    assert words.wifi(202) == "wrong password (202)"
    assert words.wifi(4711) == "no answer (4711)"


def changes(missing: str, *, linked: bool = False) -> list:
    """Return STALL and WARN every 25 ms of two seconds."""
    usage = {"last_model": ""}
    shown = [lamps.colours(usage, ms, stale=True, linked=linked, missing=missing) for ms in range(0, 2000, 25)]
    return [(colours[3] != lamps.OFF, colours[2] != lamps.OFF) for colours in shown]


def flashes(states: list) -> int:
    """Count how often STALL comes on."""
    return sum([after[0] and not before[0] for before, after in zip([(False, False)] + states, states)])


def test_stall_tells_what_is_missing() -> None:
    """Steady without a publisher, once a second without a broker, four times a second without Wi-Fi."""
    assert flashes(changes("wifi", linked=True)) == 1
    assert flashes(changes("broker")) == 2
    assert flashes(changes("wifi")) == 8
    assert all([stall != warn for stall, warn in changes("setup")])
    assert not any([warn for _, warn in changes("wifi")])


def test_broken_settings_flash_warn_alone() -> None:
    """Settings that can't be make WARN flash twice and pause, and nothing else shine."""
    shown = [lamps.broken(ms) for ms in range(0, 2000, 50)]
    warn = [colours[2] != lamps.OFF for colours in shown]

    assert sum([after and not before for before, after in zip([False] + warn, warn)]) == 2
    assert not any(warn[20:])
    assert all([colours[:2] + colours[3:] == [lamps.OFF] * 4 for colours in shown])
