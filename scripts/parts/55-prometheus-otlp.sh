# A Prometheus that takes OTLP itself, built from its Go module: Debian's lacks that receiver. Service discovery is left
# out as Prometheus's own README shows (plugins), which makes a build of a minute. Same release as Debian sid's.
set -euo pipefail
version=0.305.3 # Prometheus 3.5.3
folder=$CLAUDE_GAUGE_PARTS/prometheus-otlp
[ -x "$folder/prometheus" ] && cmp -s "$0" "$folder/built-by" && exit 0
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
if ! command -v go >/dev/null; then
  echo "WARNING: no Go on this machine, so no Prometheus with an OTLP receiver was built: its tests will FAIL." >&2
  exit 0
fi

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
module=github.com/prometheus/prometheus@v$version
source=$(cd "$work" && go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$source" "$work/source"
chmod -R u+w "$work/source"
rm "$work/source/plugins/plugins.go" # minimum.go beside it stays: files and HTTP
export GOFLAGS="-buildvcs=false -p=2"
(cd "$work/source" && go build -o "$work/prometheus" ./cmd/prometheus) 2>"$work/log" || { tail -20 "$work/log" >&2; exit 1; }
mkdir -p "$folder"
mv "$work/prometheus" "$folder/prometheus.new" && mv "$folder/prometheus.new" "$folder/prometheus"
"$folder/prometheus" --version 2>&1 | head -1
cp "$0" "$folder/built-by"
