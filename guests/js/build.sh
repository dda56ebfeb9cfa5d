#!/usr/bin/env bash
# Builds the guests in JavaScript. Where npm or its registry is out of reach, says so in one line, leaves NAME.skipped in
# place of each component, and ends with code 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${CARGO_TARGET_DIR:-target}
case $build in /*) ;; *) build=$PWD/$build ;; esac
out=${DAFFI_COMPONENTS:-$build/components}
tools=$build/guests-js
mkdir -p "$out" "$tools"

# Each is guests/js/NAME.js, becomes NAME-js.wasm, and has its WIT in guests/NAME/wit.
world_conformance=callbacks
world_modifiers=guest

skip() {
  for name in conformance modifiers; do
    rm -f "$out/$name-js.wasm"
    echo "$1" >"$out/$name-js.skipped"
  done
  echo "skipped: the guests in JavaScript: $1" >&2
  exit 0
}

# What the component is made of has not changed since it was made.
is_new() {
  [ -e "$out/$1-js.wasm" ] && [ -z "$(find -L "guests/js/$1.js" guests/js/package-lock.json guests/js/build.sh \
    "guests/$1/wit" -type f -newer "$out/$1-js.wasm")" ]
}

# Where an imported interface names a resource of another one, the tool cannot make its snapshot ("mismatched resource
# types"). A component may import a part of an interface: this leaves out the pollables, and with them `wasi:io`.
without_pollables() {
  rm -rf "$2"
  cp -rL "$1" "$2"
  rm -rf "$2/deps/daffi-runtime/deps"
  for file in "$2"/deps/daffi-runtime/*.wit; do
    awk '/func\(\) -> pollable;|use wasi:io\/poll/ { held = ""; next } NR > 1 { print held } { held = $0 } END { print held }' \
      "$file" >"$file.part"
    mv "$file.part" "$file"
  done
}

make_one() {
  local name=$1 world=world_$1
  echo "guests: building $name-js" >&2
  without_pollables "guests/$name/wit" "$tools/$name-wit"
  "$tools/node_modules/.bin/componentize-qjs" --wit "$tools/$name-wit" --world "${!world}" --js "guests/js/$name.js" \
    --sync -o "$tools/$name-js.wasm" >"$tools/build.log" 2>&1 || { cat "$tools/build.log" >&2; exit 1; }
  mv "$tools/$name-js.wasm" "$out/$name-js.wasm"
  rm -f "$out/$name-js.skipped"
}

old=()
for name in conformance modifiers; do
  is_new "$name" || old+=("$name")
done
[ ${#old[@]} -gt 0 ] || exit 0

command -v node >/dev/null && command -v npm >/dev/null || skip "node and npm are missing (Debian: apt install npm)"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || skip "node $(node --version) is too old, 18 is needed"
if ! cmp -s guests/js/package-lock.json "$tools/package-lock.json" || [ ! -d "$tools/node_modules" ]; then
  echo "guests: fetching componentize-qjs with npm (40 MB, once)" >&2
  rm -rf "$tools/node_modules" "$tools/package-lock.json"
  install=$(mktemp -d "$tools/install.XXXXXX")
  cp guests/js/package.json guests/js/package-lock.json "$install/"
  # Not `npm ci`: it insists on the optional packages of platforms that the lock cannot name, as they are not published.
  if ! (cd "$install" && npm install --no-save --no-audit --no-fund --fetch-retries=1 --fetch-timeout=30000 >npm.log 2>&1); then
    why=$(grep -m 1 -i -E 'npm (error|ERR!) (code|network)' "$install/npm.log" || tail -n 1 "$install/npm.log")
    rm -rf "$install"
    skip "npm cannot install componentize-qjs ($why)"
  fi
  mv "$install/node_modules" "$tools/"
  cp guests/js/package-lock.json "$tools/"
  rm -rf "$install"
fi

for name in "${old[@]}"; do
  make_one "$name"
done
