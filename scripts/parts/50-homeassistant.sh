# A real Home Assistant, pinned, with the Python that it wants: Debian sid's, unpacked beside the system by its own loader.
# apt verifies what it downloads; nothing of it is installed. Two of the dependencies have no wheels and are built here.
set -euo pipefail
version=2026.11.0
folder=$CLAUDE_GAUGE_PARTS/homeassistant-$version
[ -e "$folder/ready" ] && exit 0
rm -rf "$folder"
. scripts/aside.sh
FETCH=install aside sid "$folder/root" python3.14-venv python3.14-dev libstdc++6 tzdata

libraries=$(dirname "$(find "$folder/root/usr/lib" -name libc.so.6)")
cat >"$folder/root/usr/bin/python" <<SCRIPT
#!/bin/sh
exec $(ls "$folder"/root/usr/lib*/ld-linux*.so.*) --argv0 "\$0" --library-path $libraries $folder/root/usr/bin/python3.14 "\$@"
SCRIPT
chmod +x "$folder/root/usr/bin/python"

python=$folder/venv/bin/python
"$folder/root/usr/bin/python" -m venv --without-pip "$folder/venv"
PYTHONPATH=$(ls "$folder"/root/usr/share/python-wheels/pip-*.whl) "$python" -m pip install --quiet pip
"$python" -m pip install --quiet "homeassistant==$version"
constraints=$("$python" -c 'import homeassistant; print(homeassistant.__path__[0] + "/package_constraints.txt")')
# What its default integrations want, asked of their own manifests: later it runs with --skip-pip and downloads nothing.
"$python" - >"$folder/wanted" <<'PYTHON'
import json, pathlib
import homeassistant
from homeassistant.bootstrap import DEFAULT_INTEGRATIONS

folder = pathlib.Path(homeassistant.__path__[0], "components")
names, wanted, seen = ["mqtt", "history", *DEFAULT_INTEGRATIONS], {"aiohasupervisor", "isal", "zlib-ng"}, set()
while names:
    if (name := names.pop()) not in seen:
        seen.add(name)
        manifest = json.loads((folder / name / "manifest.json").read_text())
        names += manifest.get("dependencies", [])
        wanted |= set(manifest.get("requirements", []))
print("\n".join(sorted(wanted)))
PYTHON
mkdir -p "$folder/include"
for each in "$folder"/root/usr/include/*-linux-gnu*/python3.14; do # not the whole: its libc is newer than the compiler
  mkdir -p "$folder/include/$(basename "$(dirname "$each")")" && ln -sfn "$each" "$folder/include/$(basename "$(dirname "$each")")/python3.14"
done
CPATH=$folder/include "$python" -m pip install --quiet --constraint "$constraints" --requirement "$folder/wanted"
touch "$folder/ready"
