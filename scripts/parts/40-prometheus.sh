# Prometheus old and new, VictoriaMetrics and Docker's compose plugin: Debian packages, verified by apt, unpacked
# beside the system (nothing is installed, no service starts). bookworm's Prometheus 2.42 is the oldest that we
# promise to serve, sid's is the one that compose.yaml pins.
set -euo pipefail
folder=$CLAUDE_GAUGE_PARTS/metrics
[ -e "$folder/ready" ] && exit 0
command -v apt-get >/dev/null || { echo "WARNING: no apt-get here: Prometheus's tests will FAIL." >&2; exit 0; }

. scripts/aside.sh
rm -rf "$folder"
aside bookworm "$folder/old" prometheus
aside sid "$folder/new" prometheus promtool victoria-metrics docker-compose
[ -x "$folder/new/usr/bin/promtool" ] || cp "$folder/old/usr/bin/promtool" "$folder/new/usr/bin/"
touch "$folder/ready"
