# The package itself, editable, with what its tests import.
set -euo pipefail
.venv/bin/pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
