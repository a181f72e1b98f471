# axe-core, pinned: the accessibility rules that the web cluster is held to.
set -euo pipefail
version=4.14.1
folder=$CLAUDE_GAUGE_PARTS/axe-core-$version
node -e "require('$folder/node_modules/axe-core')" 2>/dev/null && exit 0
rm -rf "$folder"
npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "$folder" "axe-core@$version"
