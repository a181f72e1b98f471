# OpenTelemetry's JavaScript SDK, at the version that Claude Code itself was seen to send with (its User-Agent).
set -euo pipefail
version=0.208.0
folder=$CLAUDE_GAUGE_PARTS/otel-js-$version
[ -f "$folder/node_modules/@opentelemetry/sdk-metrics/package.json" ] && exit 0
exporters=()
for signal in metrics logs; do
  for form in http proto; do exporters+=("@opentelemetry/exporter-$signal-otlp-$form@$version"); done
done
npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "$folder" \
  "${exporters[@]}" "@opentelemetry/sdk-logs@$version" @opentelemetry/sdk-metrics@2.2.0
