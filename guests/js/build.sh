#!/usr/bin/env bash
# Builds the conformance guest in JavaScript. Where npm or its registry is out of reach, says so in one line, leaves
# conformance-js.skipped in place of the component, and ends with code 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${CARGO_TARGET_DIR:-target}
case $build in /*) ;; *) build=$PWD/$build ;; esac
out=${DAFFI_COMPONENTS:-$build/components}
name=conformance-js
tools=$build/guests-js
mkdir -p "$out" "$tools"

skip() {
  rm -f "$out/$name.wasm"
  echo "$1" >"$out/$name.skipped"
  echo "skipped: $name, the conformance guest in JavaScript: $1" >&2
  exit 0
}

# What the component is made of has not changed since it was made.
sources="guests/js/conformance.js guests/js/package-lock.json guests/js/build.sh"
if [ -e "$out/$name.wasm" ] && [ -z "$(find -L $sources guests/conformance/wit -type f -newer "$out/$name.wasm")" ]; then
  exit 0
fi

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

echo "guests: building $name" >&2
"$tools/node_modules/.bin/componentize-qjs" --wit guests/conformance/wit --world callbacks --js guests/js/conformance.js \
  --sync -o "$tools/$name.wasm" >"$tools/build.log" 2>&1 || { cat "$tools/build.log" >&2; exit 1; }
mv "$tools/$name.wasm" "$out/$name.wasm"
rm -f "$out/$name.skipped"
