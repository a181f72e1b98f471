# axe-core, pinned: the accessibility rules that the web cluster is held to.
set -euo pipefail
version=4.14.1
folder=$CLAUDE_GAUGE_PARTS/axe-core-$version
[ -f "$folder/node_modules/axe-core/axe.min.js" ] && exit 0
npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "$folder" "axe-core@$version"
