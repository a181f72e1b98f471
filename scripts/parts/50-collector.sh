# A real OpenTelemetry collector, built from Go modules with the collector's own builder: just the parts that
# broker/telemetry/collector.yaml names, at the version that compose.yaml pins.
set -euo pipefail
version=0.155.0 stable=1.61.0 # the two halves of one collector release
folder=$CLAUDE_GAUGE_PARTS/collector
[ -x "$folder/otelcol" ] && cmp -s "$0" "$folder/built-by" && exit 0
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
if ! command -v go >/dev/null; then
  echo "WARNING: no Go on this machine, so no OpenTelemetry collector was built: the collector's tests will FAIL." >&2
  echo "         Install Go 1.25 or newer and run scripts/setup again." >&2
  exit 0
fi

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
core=go.opentelemetry.io/collector
contrib=github.com/open-telemetry/opentelemetry-collector-contrib
cat >"$work/builder.yaml" <<YAML
dist: {name: otelcol, output_path: $work/built, version: $version}
receivers: [{gomod: "$core/receiver/otlpreceiver v$version"}]
processors:
  - gomod: "$core/processor/batchprocessor v$version"
  - gomod: "$core/processor/memorylimiterprocessor v$version"
  - gomod: "$contrib/processor/deltatocumulativeprocessor v$version"
exporters:
  - gomod: "$contrib/exporter/prometheusexporter v$version"
  - gomod: "$core/exporter/nopexporter v$version"
extensions: [{gomod: "$contrib/extension/healthcheckextension v$version"}]
providers:
  - gomod: "$core/confmap/provider/envprovider v$stable"
  - gomod: "$core/confmap/provider/fileprovider v$stable"
  - gomod: "$core/confmap/provider/yamlprovider v$stable"
YAML
export GOFLAGS="${GOFLAGS:-} -p=2"
GOBIN=$work go install "$core/cmd/builder@v$version" 2>"$work/log" &&
  "$work/builder" --config "$work/builder.yaml" >>"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
mkdir -p "$folder"
mv "$work/built/otelcol" "$folder/otelcol.new" && mv "$folder/otelcol.new" "$folder/otelcol"
"$folder/otelcol" --version
cp "$0" "$folder/built-by"
