# To be sourced. `aside SUITE FOLDER PACKAGE…` unpacks packages of another Debian suite into a folder: apt finds them at the
# mirror that this machine uses anyway and verifies them; nothing of it is installed. FETCH=install takes dependencies, too.
aside() {
  local suite=$1 into=$2 apt mirror deb
  shift 2
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
  [ -n "$mirror" ] || { echo "apt knows no Debian mirror: run apt-get update first" >&2; return 1; }
  apt=$(mktemp -d)
  trap "rm -rf '$apt'" EXIT # where it ends early, too
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$into"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$apt"
    -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
    -o Acquire::Languages=none -o APT::Sandbox::User=root -o Debug::NoLocking=1 --quiet --quiet)
  apt-get "${options[@]}" update || return
  if [ "${FETCH:-download}" = install ]; then
    apt-get "${options[@]}" --yes install --download-only --no-install-recommends "$@" >/dev/null || return
  else
    (cd "$apt/cache/archives" && apt-get "${options[@]}" download "$@") || return
  fi
  for deb in "$apt"/cache/archives/*.deb; do dpkg-deb --extract "$deb" "$into" || return; done
  rm -rf "$apt"
}
