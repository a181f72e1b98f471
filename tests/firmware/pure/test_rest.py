"""Scales, settings, slots, signatures, set-up, time. Runs under CPython and under MicroPython."""

from gauge import ntp, ota, portal, settings
from gauge.scale import Dial, share


def test_dial_places_shares() -> None:
    """Zero lies above the stop, one at the end of the scale, rest on the stop."""
    dial = Dial()

    assert [dial.steps(wanted, 945) for wanted in (None, 0.0, 0.5, 1.0)] == [0, 60, 465, 870]
    assert dial.steps(1.0, 3780) == 3480


def test_dial_follows_its_calibration() -> None:
    """Zero, span and single points of one needle bend where it is sent."""
    dial = Dial({"zero": 10, "span": 300, "points": [[0.5, 0.6]]})

    assert dial.steps(0.0, 945) == 30
    assert dial.steps(0.5, 945) == 570
    assert dial.steps(0.25, 945) == 300
    assert dial.steps(1.0, 945) == 930


def test_share_stays_on_the_scale() -> None:
    """Beyond the end is the end."""
    assert [share(value, 4) for value in (-1, 0, 1, 4, 400)] == [0, 0, 0.25, 1, 1]


def test_settings_over_defaults() -> None:
    """What is given counts, what is not is the default, what is of the wrong kind is the default too."""
    merged = settings.merge({"node": "n", "broker": {"host": "h", "port": "1883"}, "new": 1, "tach_high": 5})

    assert (merged["node"], merged["broker"]["host"], merged["new"], merged["tach_high"]) == ("n", "h", 1, 5)
    assert merged["broker"]["port"] == 1883
    assert merged["wifi"] == {"ssid": "", "password": ""}
    assert settings.merge([])["node"] == "all"  # type: ignore[arg-type]


def test_night_texts() -> None:
    """Times of the day become minutes; nonsense is no night."""
    assert settings.night(["22:00", "07:30", 0.1]) == [1320, 450, 0.1]
    assert settings.night(["22:00", "07:30", 7]) == [1320, 450, 1.0]
    for bad in ([], ["a", "b", 1], [1, 2, 3], ["22:00", "07:00"], ["22:00", "07:00", "dim"]):
        assert settings.night(bad) is None, bad


def test_signature_is_hmac() -> None:
    """The signature is HMAC-SHA256: the vectors of RFC 4231, with a short key and one longer than a block."""
    assert ota.signature(b"Jefe", b"what do ya want for nothing?").hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert ota.signature(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First").hex() == (
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    )


def sign(text: bytes, key: bytes = b"key") -> bytes:
    """Sign a manifest."""
    return ota.signature(key, text).hex().encode() + b"\n" + text


NOW_S = 1_795_435_200
MANIFEST = b'{"version": "9", "serial": 5, "files": [["gauge/app.mpy", 10, "%s"]]}' % (b"0" * 64)


def test_manifest_signed_by_us() -> None:
    """A manifest is read only where its signature is our key's."""
    reported = ota.manifest(b"key", sign(MANIFEST))

    assert reported == {"version": "9", "serial": 5, "files": [("gauge/app.mpy", 10, "0" * 64)]}
    assert ota.manifest(b"other", sign(MANIFEST)) is None
    assert ota.manifest(b"key", sign(MANIFEST).replace(b'"9"', b'"8"')) is None
    for bad in (b"", b"\n", MANIFEST, sign(b""), sign(b"[]"), sign(b"{}"), sign(b"null")):
        assert ota.manifest(b"key", bad) is None, bad


def test_serial_from_the_future_bars_nothing() -> None:
    """A manifest is newer by its time of signature; neither one from the future nor a stored one counts."""
    now = NOW_S
    assert ota.newer(now, now - 5, now, now)
    assert not ota.newer(now - 5, now - 5, now, now)
    assert not ota.newer(now + 90_000, 0, now, now)
    assert ota.newer(now, 4_000_000_000, now, now)
    assert ota.newer(now + 3600, now, now, now)  # two clocks need not agree to the second
    assert ota.newer(now + 400 * 86_400, now, None, now)  # nobody has set the time: a year may have passed
    assert not ota.newer(4_000_000_000, now, None, now)


def test_manifest_stays_in_its_folder() -> None:
    """Even a signed manifest can't write outside the firmware's folder, nor more than fits."""
    for path in ("../main.py", "main.py", "gauge/../main.py", "/gauge/a.py", "gauge/a/b.py", "gauge/config.json", ""):
        assert ota.manifest(b"key", sign(MANIFEST.replace(b"gauge/app.mpy", path.encode()))) is None, path
    assert ota.manifest(b"key", sign(MANIFEST.replace(b" 10,", b" 99999,"))) is None


def test_form_fills_settings() -> None:
    """What was entered is decoded and checked; an empty password keeps the stored one."""
    config = settings.merge({"wifi": {"password": "kept"}})
    body = "ssid=My+Caf%C3%A9&wifi_password=&host=10.0.0.2&port=8883&user=u%26%3D&password=p%25&node=laptop"

    assert portal.fill(config, body) == ""
    assert config["wifi"] == {"ssid": "My Caf\u00e9", "password": "kept"}
    assert config["broker"]["user"] == "u&="
    assert (config["broker"]["port"], config["broker"]["password"], config["node"]) == (8883, "p%", "laptop")


def test_form_refuses_nonsense() -> None:
    """A form that could not work says why."""
    good = "ssid=a&host=b&port=1&node=c"
    for bad in ("", "x", good + "&port=0", good + "&port=x", good + "&host=", good + "&ssid=%ff", good + "&node=a/b"):
        assert portal.fill(settings.merge({}), bad), bad
    assert not portal.fill(settings.merge({}), good)


def test_form_checks_lengths() -> None:
    """Names and passwords that no network or broker can have are refused by the page."""
    good = {"ssid": "s" * 32, "host": "h", "port": "1", "node": "n", "wifi_password": "p" * 63}

    def said(**changes: str) -> str:
        fields = dict(good)
        fields.update(changes)
        return portal.fill(settings.merge({}), "&".join([name + "=" + text for name, text in fields.items()]))

    assert said() == ""
    assert said(wifi_password="a" * 64) == ""  # a key in hexadecimal digits
    for changes, text in (
        ({"ssid": "s" * 33}, "32 bytes"),
        ({"wifi_password": "p" * 64}, "63 bytes"),
        ({"wifi_password": "p" * 65}, "63 bytes"),
        ({"host": "h" * 254}, "name or the address"),
        ({"host": "mqtt://h"}, "name or the address"),
        ({"password": "p" * 256}, "255 bytes"),
    ):
        assert text in said(**changes), changes


def test_page_tells_the_time() -> None:
    """The phone's clock is a floor for the board's; one that can't be is not taken."""
    for sent, kept in (("1795435200", 1_795_435_200), ("", 5), ("x", 5), ("9" * 20, 4_000_000_000), ("3", 5)):
        config = settings.merge({"utc_floor": 5})
        assert portal.fill(config, "ssid=a&host=b&port=1&node=c&utc=" + sent) == ""
        assert config["utc_floor"] == kept, sent


def test_former_network_stays_known() -> None:
    """The network before the new one stays known, once, and not for ever."""
    config = settings.merge({"wifi": {"ssid": "new"}, "networks": [{"ssid": str(n)} for n in range(9)]})
    portal.keep(config, {"ssid": "3", "password": "x"})

    assert config["networks"] == [{"ssid": "3", "password": "x"}] + [{"ssid": text} for text in "012"]


def test_own_network_has_a_password() -> None:
    """The set-up network's password is the label's, else one that was made up once; never a short one."""

    class Known:
        def __init__(self) -> None:
            self.values: dict = {}

        def get(self, name: str, default: str) -> str:
            return str(self.values.get(name, default))

        def keep(self, name: str, value: str) -> None:
            self.values[name] = value

    known = Known()
    assert portal.password("on-the-label", known) == "on-the-label"
    made = portal.password("", known)
    assert len(made) == 10
    assert portal.password("short", known) == made
    assert made == known.values["portal"]


def test_page_shows_no_secret_and_no_markup() -> None:
    """Stored passwords are not shown, and a network's name can't break out of its field."""
    page = portal.page(settings.merge({"wifi": {"ssid": '"><script>', "password": "hunter2"}}), "<b>")

    assert "hunter2" not in page
    assert "<script>" not in page
    assert "&lt;b>" in page


def test_every_name_is_us() -> None:
    """Any question for a name is answered with our address; what is no question is not answered."""
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03abc\x02de\x00\x00\x01\x00\x01"
    answer = portal.dns_answer(query, "192.168.4.1")

    assert answer is not None
    assert answer[:4] == b"\x12\x34\x81\x80"
    assert answer[12:24] == query[12:24]
    assert answer[-4:] == b"\xc0\xa8\x04\x01"
    for bad in (b"", query[:-3], query[:5], b"\x12\x34\x81" + query[3:], bytes(40), query[:12] + b"\xff" * 20):
        assert portal.dns_answer(bad, "192.168.4.1") is None, bad


def test_ntp_answer() -> None:
    """A server's answer is the time; one from a mad or unsynchronised server is none."""
    answer = bytearray(48)
    answer[0], answer[1] = 0x1C, 2
    answer[40:44] = (1_795_435_200 + ntp.EPOCH_S).to_bytes(4, "big")
    assert ntp.seconds(bytes(answer)) == 1_795_435_200

    answer[40:44] = (100).to_bytes(4, "big")
    assert ntp.seconds(bytes(answer)) == 100 + (1 << 32) - ntp.EPOCH_S

    answer[1] = 0
    assert ntp.seconds(bytes(answer)) is None
    assert ntp.seconds(b"short") is None
