# Claude Code itself, pinned: the tests let it run our statusline and hooks, offline, against an API of their own.
set -euo pipefail
version=2.1.330
folder=$CLAUDE_GAUGE_PARTS/claude-code-$version
"$folder/claude" --version >/dev/null 2>&1 && exit 0
rm -rf "$folder"
npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "$folder" "@anthropic-ai/claude-code@$version"
for native in "$folder"/node_modules/@anthropic-ai/claude-code-*/claude; do
  chmod +x "$native"
  "$native" --version >/dev/null && ln -sf "$native" "$folder/claude"
done
[ -x "$folder/claude" ] || { echo "Claude Code $version came without a program for this machine" >&2; exit 1; }
