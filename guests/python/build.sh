#!/usr/bin/env bash
# Builds the guests in Python. Where Python or its package index is out of reach, says so in one line, leaves NAME.skipped
# in place of each component, and ends with code 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${CARGO_TARGET_DIR:-target}
case $build in /*) ;; *) build=$PWD/$build ;; esac
out=${DAFFI_COMPONENTS:-$build/components}
tools=$build/guests-python
mkdir -p "$out" "$tools"

# Each is guests/python/NAME.py, becomes NAME-python.wasm, and has its WIT in guests/NAME/wit.
world_conformance=callbacks
world_modifiers=guest

skip() {
  for name in conformance modifiers; do
    rm -f "$out/$name-python.wasm"
    echo "$1" >"$out/$name-python.skipped"
  done
  echo "skipped: the guests in Python: $1" >&2
  exit 0
}

# What the component is made of has not changed since it was made.
is_new() {
  [ -e "$out/$1-python.wasm" ] && [ -z "$(find -L "guests/python/$1.py" guests/python/requirements.txt \
    guests/python/build.sh "guests/$1/wit" -type f -newer "$out/$1-python.wasm")" ]
}

make_one() {
  local name=$1 world=world_$1
  echo "guests: building $name-python (half a minute)" >&2
  "$tools/venv/bin/componentize-py" --wit-path "guests/$name/wit" --world "${!world}" componentize "$name" \
    --python-path guests/python --output "$tools/$name-python.wasm" >"$tools/build.log" 2>&1 ||
    { cat "$tools/build.log" >&2; exit 1; }
  mv "$tools/$name-python.wasm" "$out/$name-python.wasm"
  rm -f "$out/$name-python.skipped"
}

old=()
for name in conformance modifiers; do
  is_new "$name" || old+=("$name")
done
[ ${#old[@]} -gt 0 ] || exit 0

command -v python3 >/dev/null || skip "python3 is missing (Debian: apt install python3 python3-venv)"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || skip "$(python3 --version) is too old, 3.10 is needed"
if ! cmp -s guests/python/requirements.txt "$tools/requirements.txt"; then
  echo "guests: fetching componentize-py with pip (17 MB, once)" >&2
  rm -rf "$tools/venv"
  python3 -m venv "$tools/venv" >"$tools/venv.log" 2>&1 ||
    skip "python3 cannot make a virtual environment (Debian: apt install python3-venv)"
  "$tools/venv/bin/pip" install --disable-pip-version-check --only-binary :all: --retries 1 --timeout 30 \
    --requirement guests/python/requirements.txt >"$tools/pip.log" 2>&1 ||
    skip "pip cannot install componentize-py ($(grep -m 1 '^ERROR' "$tools/pip.log" || tail -n 1 "$tools/pip.log"))"
  cp guests/python/requirements.txt "$tools/requirements.txt"
fi

for name in "${old[@]}"; do
  make_one "$name"
done
