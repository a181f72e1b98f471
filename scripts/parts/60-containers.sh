# A container engine for tests/containers, where this is Debian and we are root; elsewhere those tests say why they are skipped.
set -euo pipefail
command -v dockerd >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "no container engine: tests/containers will be skipped" >&2
  exit 0
fi
apt-get update --quiet --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends docker.io iptables >/dev/null
