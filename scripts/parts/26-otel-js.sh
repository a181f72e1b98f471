# OpenTelemetry's JavaScript SDK, at the version that Claude Code itself was seen to send with (its User-Agent).
set -euo pipefail
version=0.208.0
folder=$CLAUDE_GAUGE_PARTS/otel-js-$version
loads='for (const name of process.argv.slice(1)) require(process.cwd() + "/node_modules/@opentelemetry/" + name)'
names=(exporter-{metrics,logs}-otlp-{http,proto} sdk-logs sdk-metrics)
packages=("${names[@]/%/@$version}")
packages[5]=sdk-metrics@2.2.0
[ -d "$folder" ] && (cd "$folder" && node -e "$loads" "${names[@]}") 2>/dev/null && exit 0
rm -rf "$folder"
npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "$folder" \
  "${packages[@]/#/@opentelemetry/}"
