# ESPHome, to check firmware/esphome/claude-gauge.yaml: in an environment of its own, as it pins half of the world.
set -euo pipefail
version=2026.6.5 # the last one for Python 3.11
folder=$CLAUDE_GAUGE_PARTS/esphome-$version
[ -e "$folder/ready" ] && exit 0
python3 -m venv --clear "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "esphome==$version"
touch "$folder/ready"
