# Debian's packages, one per line in debian.txt: installed where missing, by root or through sudo.
set -euo pipefail
cd "$(dirname "$0")"
missing=()
while read -r package; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done <debian.txt
[ ${#missing[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || { echo "install by hand: ${missing[*]}" >&2; exit 1; }
root=$([ "$(id -u)" = 0 ] || echo sudo)
$root apt-get update --quiet --quiet
DEBIAN_FRONTEND=noninteractive $root apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}" >/dev/null
