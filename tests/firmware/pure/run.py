"""Run the test functions beside this file under MicroPython, which has no pytest."""

import os
import sys


def run(folder: str, firmware: str) -> int:
    """Run them all and return how many failed."""
    sys.path[0:0] = [folder, firmware]
    failed = passed = 0
    for file in sorted(os.listdir(folder)):
        if not file.startswith("test_"):
            continue
        module = __import__(file.rpartition(".")[0])
        for name in dir(module):
            if not name.startswith("test_"):
                continue
            try:
                getattr(module, name)()
                passed += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failed test
                failed += 1
                print("FAILED", file, name)
                sys.print_exception(error)  # type: ignore[attr-defined]
    print(passed, "passed,", failed, "failed")
    return failed


if __name__ == "__main__":
    sys.exit(1 if run(sys.argv[1], sys.argv[2]) else 0)
