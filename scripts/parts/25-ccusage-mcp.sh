# @ccusage/mcp, its last version; without the override a fresh install answers once and then fails.
set -euo pipefail
version=18.0.11
folder=$CLAUDE_GAUGE_PARTS/ccusage-mcp-$version
"$folder/node_modules/.bin/ccusage-mcp" --version >/dev/null 2>&1 && exit 0
rm -rf "$folder"
mkdir -p "$folder"
cat >"$folder/package.json" <<JSON
{"private": true, "dependencies": {"@ccusage/mcp": "$version"}, "overrides": {"@modelcontextprotocol/sdk": "1.25.3"}}
JSON
npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "$folder"
