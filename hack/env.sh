# Sourced by hack/test, hack/demo and hack/toolbox: finds uv, or installs it into the user's cache, and puts it on the PATH.

runabout_cache="${XDG_CACHE_HOME:-$HOME/.cache}/runabout"

find_uv() {
  if command -v uv >/dev/null; then return; fi
  local venv="$runabout_cache/uv"
  if [ ! -x "$venv/bin/uv" ]; then
    echo "· uv is not installed: installing it into $venv"
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "Python 3.11 or newer is needed as python3: install it (Debian 12: apt-get install python3)" >&2
      exit 1
    fi
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
      if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "· python3-venv is missing: installing it"
        DEBIAN_FRONTEND=noninteractive apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
        rm -rf "$venv"
        python3 -m venv "$venv"
      else
        echo "python3 -m venv does not work: install python3-venv, or uv itself" >&2
        exit 1
      fi
    fi
    "$venv/bin/pip" install --quiet uv
  fi
  PATH="$venv/bin:$PATH"
  export PATH
}

find_uv

# The distribution's Python is the one in the operator's image, and it is built with optimization by profile, which one
# that somebody has compiled for himself often is not.
if [ -z "${UV_PYTHON:-}" ] && /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  export UV_PYTHON=/usr/bin/python3
fi
