# The package itself, editable, with what its tests import.
set -euo pipefail
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
