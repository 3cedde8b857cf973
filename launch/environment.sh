# Sourced by local.sh and test.sh: one virtual environment beside the checkout, made
# or brought up to date when setup.cfg has changed.
#
#   environment EXTRAS    sets $python to the interpreter that has jaxvision[EXTRAS]
#
# JAXVISION_PYTHON names the Python to build on, JAXVISION_VENV another place for it.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

find_python() {
  local candidate
  for candidate in ${JAXVISION_PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c \
      'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
      >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "jaxvision needs CPython 3.11, 3.12 or 3.13; ${JAXVISION_PYTHON:-python3} is" \
    "none of them (set JAXVISION_PYTHON)" >&2
  return 2
}

environment() {
  local extras="$1" venv="${JAXVISION_VENV:-$root/.venv}" base stamp wanted
  python="$venv/bin/python"
  stamp="$venv/installed-$extras"
  wanted="$(cksum <"$root/setup.cfg") $root"
  if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  if ! "$python" -c 'import pip' >/dev/null 2>&1; then
    base="$(find_python)" || return 2
    echo "making $venv with $base" >&2
    "$base" -m venv "$venv" || return 2
  fi
  echo "installing jaxvision[$extras] (about a minute the first time)" >&2
  "$python" -m pip install --quiet --disable-pip-version-check \
    --editable "$root[$extras]" >&2 || return 2
  echo "$wanted" >"$stamp"
}
