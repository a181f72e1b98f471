# Prometheus old and new, VictoriaMetrics and Docker's compose plugin: Debian packages, verified by apt, unpacked
# beside the system (nothing is installed, no service starts). bookworm's Prometheus 2.42 is the oldest that we
# promise to serve, sid's is the one that compose.yaml pins.
set -euo pipefail
folder=$CLAUDE_GAUGE_PARTS/metrics
[ -e "$folder/ready" ] && exit 0
command -v apt-get >/dev/null || { echo "WARNING: no apt-get here: Prometheus's tests will FAIL." >&2; exit 0; }

mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
rm -rf "$folder"
unpack() { # SUITE INTO PACKAGE…
  local suite=$1 into=$folder/$2 apt=$folder/apt-$1
  shift 2
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$into"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} $suite main" >"$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$apt"
    -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
    -o Acquire::Languages=none -o APT::Sandbox::User=root --quiet --quiet)
  apt-get "${options[@]}" update
  (cd "$apt" && apt-get "${options[@]}" download "$@" && for deb in *.deb; do dpkg-deb --extract "$deb" "$into"; done)
  rm -rf "$apt"
}
unpack bookworm old prometheus
unpack sid new prometheus promtool victoria-metrics docker-compose
[ -x "$folder/new/usr/bin/promtool" ] || cp "$folder/old/usr/bin/promtool" "$folder/new/usr/bin/"
touch "$folder/ready"
