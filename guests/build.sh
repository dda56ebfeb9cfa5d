#!/usr/bin/env bash
# Builds the Rust guests: all of them, or the packages named.
#
#   guests/build.sh [PACKAGE…]
#
# The components go to $DAFFI_COMPONENTS (default: the folder `components` of the target folder) as NAME.wasm, with
# dashes in the names. Guests in other languages have a build.sh of their own: guests/js, guests/python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${CARGO_TARGET_DIR:-target}
case $build in /*) ;; *) build=$PWD/$build ;; esac
out=${DAFFI_COMPONENTS:-$build/components}
mkdir -p "$out"

rustc=$(guests/toolchain.sh)
packages=()
for name in "$@"; do packages+=(-p "$name"); done
[ $# -gt 0 ] || packages=(--workspace --exclude daffi)

# A wrapper or a chosen toolchain of the host's build would be asked to run a compiler that it does not know.
artifacts=$(env -u RUSTC_WRAPPER -u RUSTC_WORKSPACE_WRAPPER -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET \
  RUSTC="$rustc" CARGO_TARGET_DIR="$build/guests" \
  cargo build --manifest-path guests/Cargo.toml --locked --release --target wasm32-wasip2 \
  --message-format=json-render-diagnostics "${packages[@]}")

count=0
while IFS= read -r file; do
  name=$(basename "$file")
  name=${name//_/-}
  # Unchanged files keep their time, so that nothing that depends on them is done again.
  cmp -s "$file" "$out/$name" || cp "$file" "$out/$name"
  count=$((count + 1))
done < <(printf '%s\n' "$artifacts" | grep -o '"filenames":\["[^]]*\.wasm"' | grep -o '[^"]*\.wasm')
echo "guests: $count components in $out" >&2
