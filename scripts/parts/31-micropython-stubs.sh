# MicroPython's type stubs for the ESP32, in a folder of their own: they shadow the standard library's.
set -euo pipefail
version=1.29.0.post1
folder=$CLAUDE_GAUGE_PARTS/micropython-stubs-$version
[ -e "$folder/esp32.pyi" ] && exit 0
.venv/bin/pip install --quiet --disable-pip-version-check --target "$folder" "micropython-esp32-stubs==$version"
