# ccusage, pinned: newer ones were seen to install without their native binary.
set -euo pipefail
version=20.0.24
folder=$CLAUDE_GAUGE_PARTS/ccusage-$version
"$folder/node_modules/.bin/ccusage" --version >/dev/null 2>&1 && exit 0
rm -rf "$folder"
npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "$folder" "ccusage@$version"
"$folder/node_modules/.bin/ccusage" --version # the first run makes the native binary executable: by whoever installed it
