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
. scripts/aside.sh
aside trixie "$folder/root" micropython libc6 libffi8 libmbedcrypto16 libmbedtls21 libmbedx509-7
triplet=$(basename "$folder"/root/usr/lib/*-linux-gnu)
loader=$(find "$folder/root/usr" -name 'ld-linux-*.so.*' | head -n 1)
cat >"$program" <<SCRIPT
#!/bin/sh
exec "$loader" --library-path "$folder/root/usr/lib/$triplet" "$folder/root/usr/bin/micropython" "\$@"
SCRIPT
chmod +x "$program"
"$program" -c "$recent"
