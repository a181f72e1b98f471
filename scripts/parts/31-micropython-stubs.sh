# MicroPython's type stubs for the ESP32, in a folder of their own: they shadow the standard library's.
set -euo pipefail
version=1.29.0.post1
folder=$CLAUDE_GAUGE_PARTS/micropython-stubs-$version
[ -e "$folder/ready" ] && exit 0
rm -rf "$folder"
.venv/bin/pip install --quiet --disable-pip-version-check --target "$folder" "micropython-esp32-stubs==$version"
touch "$folder/ready"
