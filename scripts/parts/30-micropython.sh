# MicroPython's unix port, for the firmware's tests: an installed one from 1.24 on, else Debian trixie's, verified by apt
# and unpacked beside the system (nothing of it is installed), run with its own loader and libraries.
set -euo pipefail
folder=$CLAUDE_GAUGE_PARTS/micropython
program=$folder/micropython
recent='import sys; sys.exit(sys.implementation[1] < (1, 24))'
[ -x "$program" ] && "$program" -c "$recent" && exit 0
mkdir -p "$folder"
if installed=$(command -v micropython) && "$installed" -c "$recent"; then
  ln -sf "$installed" "$program"
  exit 0
fi

command -v apt-get >/dev/null || { echo "install MicroPython 1.24 or newer (unix port) by hand" >&2; exit 1; }
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/debs" "$folder/root"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$folder/sources.list"
: >"$folder/status"
options=(
  -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$folder"
  -o "Dir::State::lists=$folder/lists" -o "Dir::State::status=$folder/status" -o "Dir::Cache=$folder/cache"
  -o Acquire::Languages=none -o APT::Sandbox::User=root --quiet --quiet
)
apt-get "${options[@]}" update
(cd "$folder/debs" && apt-get "${options[@]}" download \
  micropython libc6 libffi8 libmbedcrypto16 libmbedtls21 libmbedx509-7)
for package in "$folder"/debs/*.deb; do dpkg-deb --extract "$package" "$folder/root"; done
triplet=$(basename "$folder"/root/usr/lib/*-linux-gnu)
loader=$(find "$folder/root/usr" -name 'ld-linux-*.so.*' | head -n 1)
cat >"$program" <<SCRIPT
#!/bin/sh
exec "$loader" --library-path "$folder/root/usr/lib/$triplet" "$folder/root/usr/bin/micropython" "\$@"
SCRIPT
chmod +x "$program"
rm -rf "$folder/lists" "$folder/cache" "$folder/debs"
"$program" -c "$recent"
