#!/usr/bin/env bash
# Builds the conformance guest in Python. Where Python or its package index is out of reach, says so in one line, leaves
# conformance-python.skipped in place of the component, and ends with code 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${CARGO_TARGET_DIR:-target}
case $build in /*) ;; *) build=$PWD/$build ;; esac
out=${DAFFI_COMPONENTS:-$build/components}
name=conformance-python
tools=$build/guests-python
mkdir -p "$out" "$tools"

skip() {
  rm -f "$out/$name.wasm"
  echo "$1" >"$out/$name.skipped"
  echo "skipped: $name, the conformance guest in Python: $1" >&2
  exit 0
}

# What the component is made of has not changed since it was made.
sources="guests/python/conformance.py guests/python/requirements.txt guests/python/build.sh"
if [ -e "$out/$name.wasm" ] && [ -z "$(find -L $sources guests/conformance/wit -type f -newer "$out/$name.wasm")" ]; then
  exit 0
fi

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

echo "guests: building $name (half a minute)" >&2
"$tools/venv/bin/componentize-py" --wit-path guests/conformance/wit --world callbacks componentize conformance \
  --python-path guests/python --output "$tools/$name.wasm" >"$tools/build.log" 2>&1 || { cat "$tools/build.log" >&2; exit 1; }
mv "$tools/$name.wasm" "$out/$name.wasm"
rm -f "$out/$name.skipped"
