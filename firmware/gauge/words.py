"""Texts for the log: errors of sockets and TLS, the broker's refusals, the states of Wi-Fi."""

# The same errors have other numbers in the chip's library than in Linux: both are here.
ERRORS = {
    2: "a file is missing",
    12: "no memory left",
    23: "too many connections",
    28: "the flash is full",
    101: "no way to that network",
    103: "the connection broke off",
    104: "the other side broke off: wrong port, TLS where there is none, or a broker that throws us out",
    110: "no answer: wrong address, a firewall, or the machine is off",
    111: "nobody listens there: is the broker running, and is that its port?",
    113: "the machine can't be reached: is it on, and in this network?",
    114: "no way to that network",
    116: "no answer: wrong address, a firewall, or the machine is off",
    118: "the machine can't be reached: is it on, and in this network?",
    128: "the connection broke off",
    -2: "the name is not known: no such machine, or no name server answers",
    -202: "the name is not known: no such machine, or no name server answers",
    -203: "the name could not be looked up: no memory left",
}
REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not like our name",
    3: "it is not ready",
    4: "wrong user or password",
    5: "user, password or rights",
}
WIFI = {
    200: "the access point went silent",
    201: "no such network here",
    202: "wrong password",
    203: "the access point refuses us",
    204: "wrong password, or the access point did not answer",
    210: "no such network with a security that we speak",
    211: "no such network with a security that we accept",
    212: "the signal is too weak",
    1001: "joined, but no address came: is there a DHCP server?",
}


def cause(error: BaseException) -> str:
    """Return an error's text: Python's own, then what it means."""
    said = repr(error) if str(error) else type(error).__name__
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if number in ERRORS:
        return said + ": " + ERRORS[number]
    text = str(error).lower()
    if "validity starts in the future" in text or "expired" in text:
        return said + ": is the board's time right? See `ntp`"
    if "certificate" in text or "x509" in text or "cert" in text:
        return said + ": the broker's certificate is not one of our CA's, or for another name"
    return said + (": no answer" if said == "TimeoutError" else "")


def refusal(code: int) -> str:
    """Return why a broker took no session."""
    return REFUSALS.get(code, "no reason that MQTT 3.1.1 knows")


def wifi(status: int) -> str:
    """Return why a network could not be joined."""
    return WIFI.get(status, "no answer") + f" ({status})"
