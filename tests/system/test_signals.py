from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from tests.support.net import PATIENCE_S

JOB = """
import os, signal, sys, threading
from claude_gauge.system.signals import until_signal

class Job:
    def __init__(self):
        self.lock, self.ended = threading.Lock(), threading.Event()

    def run(self):
        with self.lock:  # as a lock within any library is held when the signal comes
            os.kill(os.getpid(), int(sys.argv[1]))
            sum(range(1000))
        self.ended.wait()

    def stop(self):
        with self.lock:
            self.ended.set()

until_signal(Job())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)])
def test_signal_while_a_lock_is_held(number: int, code: int) -> None:
    """A signal that comes while the main thread holds what `stop` needs ends the job all the same."""
    done = subprocess.run([sys.executable, "-c", JOB, str(int(number))], timeout=PATIENCE_S, check=False)

    assert done.returncode == code


LOADING = """
import os, signal
from claude_gauge.system.signals import interrupt_exits

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started this test may have it ignored
with interrupt_exits():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))
    except KeyboardInterrupt:
        pass
print("went on")
"""


def test_interrupt_that_a_library_would_drop() -> None:
    """Ctrl-C ends a program that is still loading its modules, also where one of them would drop the interrupt."""
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, timeout=PATIENCE_S, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
