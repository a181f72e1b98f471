# The package itself, editable, with what its tests import.
set -euo pipefail
.venv/bin/pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
# Coverage begins in every Python process that a test starts (`patch` in pyproject.toml), which costs 0.1 s each: only
# our own are to be measured, not mpremote, esptool or pip. Python reads this file before coverage's, by their names.
cat >"$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/a0_measured.pth" <<'PTH'
import os, sys; any("claude_gauge" in word or word.endswith("claude-gauge") for word in sys.orig_argv[1:5]) or os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
PTH
