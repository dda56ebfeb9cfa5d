#!/usr/bin/env bash
# Finds, or makes, a rustc that compiles to wasm32-wasip2, and prints its path: the one line on stdout.
#
#   RUSTC=$(guests/toolchain.sh) cargo build --target wasm32-wasip2
#
# In this order: the installed rustc if it has the target; what an earlier run of this script unpacked;
# `rustup target add`; Debian's rustc with its std for wasm32-wasip2. The last is unpacked into a folder of its own:
# apt checks the signatures, but neither its configuration nor dpkg's database is touched, and root is not needed.
#
#   WASIP2_NO_RUSTUP=1             do not try rustup (where its servers are out of reach and slow to say so)
#   WASIP2_DIR=DIR                 where to unpack Debian's; default: rust-wasip2 in the user's cache folder, or in the
#                                  target folder where that cannot be written
#   WASIP2_FORCE_FALLBACK=1        take Debian's even where the installed rustc has the target (to test this script)
#   WASIP2_SUITES="trixie forky"   Debian's suites to try
#   DEBIAN_MIRROR=URL              default: the one in the system's apt sources
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=wasm32-wasip2
suites=${WASIP2_SUITES:-trixie forky}
build=${CARGO_TARGET_DIR:-target}
case $build in /*) ;; *) build=$PWD/$build ;; esac
folders=("${WASIP2_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/rust-wasip2}" "$build/rust-wasip2")

say() { echo "toolchain: $*" >&2; }
die() {
  say "error: no compiler for $target: $*. Install one with: rustup target add $target"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
# The rustc on the path, whatever a surrounding build has chosen.
plain_rustc() { env -u RUSTC -u RUSTC_WRAPPER rustc "$@" 2>/dev/null; }

installed() {
  local sysroot
  sysroot=$(plain_rustc --print sysroot) && compgen -G "$sysroot/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null
}
unpacked() { # FOLDER: an earlier run finished here, and what it links to is still there
  [ -e "$1/.done" ] && [ -x "$1/bin/rustc" ] && [ -x "$1/bin/wasm-ld" ] && [ -x "$1/bin/wasm-component-ld" ]
}

if [ -z "${WASIP2_FORCE_FALLBACK:-}" ] && installed; then
  echo rustc
  exit 0
fi
for folder in "${folders[@]}"; do
  if unpacked "$folder"; then
    echo "$folder/bin/rustc"
    exit 0
  fi
done

why=""
if [ -n "${WASIP2_NO_RUSTUP:-}" ] || [ -n "${WASIP2_FORCE_FALLBACK:-}" ]; then
  why="rustup was not to be tried"
elif have rustup; then
  say "rustup target add $target (WASIP2_NO_RUSTUP=1 skips this)"
  limit=(); if have timeout; then limit=(timeout 300); fi
  if ${limit[@]+"${limit[@]}"} rustup target add $target >&2 && installed; then
    echo rustc
    exit 0
  fi
  why="rustup could not add it"
else
  why="there is no rustup"
fi

# Debian's packages, from here on.
for command in apt-get dpkg dpkg-deb cargo cc; do
  have $command || die "$why, and Debian's packages, the other way, need $command"
done
key=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $key ] || die "$why, and Debian's packages, the other way, need the package debian-archive-keyring"
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
  sed -n 's/^Debian|//p' | head -n 1)}
[ -n "$mirror" ] || die "$why, and there is no Debian mirror in the apt sources (DEBIAN_MIRROR=URL names one)"
dir=""
for folder in "${folders[@]}"; do
  if mkdir -p "$folder/bin" 2>/dev/null && [ -w "$folder/bin" ]; then dir=$(cd "$folder" && pwd); break; fi
done
[ -n "$dir" ] || die "$why, and neither of ${folders[*]} can be written (WASIP2_DIR=DIR names another)"
if have flock; then
  exec 9>"$dir/.lock"
  flock 9
  # Another run may have done the work while this one waited.
  if unpacked "$dir"; then
    echo "$dir/bin/rustc"
    exit 0
  fi
fi
root=$dir/root
apt=$dir/.apt

fetch() { # SUITE: downloads the packages of a suite, with apt's state and configuration in a folder of our own
  local packages=(libstd-rust-dev libstd-rust-dev-wasm32)
  [ -n "$rustup_linker" ] || packages+=(lld)
  mkdir -p "$apt"/{lists/partial,cache/archives/partial,etc}
  : >"$apt/status"
  echo "deb [signed-by=$key] $mirror $1 main" >"$apt/etc/sources.list"
  # The system's proxies, transports and freshness rules are kept, its hooks are not.
  apt-config dump 2>/dev/null | grep -Ei '^Acquire::(https?|ftp)::|^Acquire::[^ ]*proxy|^Acquire::Check-' >"$apt/apt.conf" || true
  cat >>"$apt/apt.conf" <<E
Dir::Etc::main "/dev/null"; Dir::Etc::parts "/dev/null"; Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null"; Dir::Etc::sourcelist "$apt/etc/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::State "$apt"; Dir::State::lists "$apt/lists"; Dir::State::status "$apt/status"; Dir::Cache "$apt/cache";
Acquire::Languages "none"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3"; Acquire::Http::Timeout "60"; APT::Sandbox::User "$(id -un)"; APT::Install-Recommends "false";
APT::Architecture "$(dpkg --print-architecture)"; APT::Get::Assume-Yes "true"; Debug::NoLocking "true";
E
  (
    export APT_CONFIG=$apt/apt.conf
    cd "$apt/cache/archives"
    apt-get -qq update && apt-get -qq --download-only install "${packages[@]}" && apt-get -qq download rustc
  ) >&2
}

unpack() {
  local deb
  mkdir -p "$root"
  for deb in "$apt"/cache/archives/*.deb; do
    case $deb in */libc-gconv* | */gcc-*-base*) continue ;; esac
    dpkg-deb --fsys-tarfile "$deb" | tar -C "$root" -xf - --no-same-owner --keep-directory-symlink \
      --exclude='./usr/share/*' --exclude='*/wasm32-unknown-unknown/*' --exclude='*/wasm32-wasip1/*' || return 1
  done
}

write_commands() { # bin/rustc runs Debian's rustc on Debian's own C library; the linkers lie beside it
  local loader triple libs lld
  loader=$(find "$root"/usr/lib64 "$root"/usr/lib "$root"/lib64 "$root"/lib -maxdepth 2 -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
  triple=$(basename "$(dirname "$(find "$root/usr/lib" -maxdepth 2 -name 'libstdc++.so.6' | head -n 1)")")
  [ -n "$loader" ] && [ -n "$triple" ] || return 1
  libs=$root/usr/lib/$triple:$root/lib/$triple
  cat >"$dir/bin/rustc" <<E
#!/bin/sh
PATH='$dir/bin':\$PATH; export PATH
exec '$loader' --library-path '$libs' '$root/usr/bin/rustc' --sysroot '$root/usr' "\$@"
E
  chmod +x "$dir/bin/rustc"
  rm -f "$dir/bin/wasm-component-ld" "$dir/bin/wasm-ld"
  if [ -n "$rustup_linker" ]; then
    ln -s "$rustup_linker/wasm-component-ld" "$dir/bin/wasm-component-ld"
    ln -s "$rustup_linker/gcc-ld/wasm-ld" "$dir/bin/wasm-ld"
  else
    lld=$(find "$root/usr/lib" -path '*/bin/lld' | head -n 1)
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" -flavor wasm "$@"\n' "$loader" "$libs" "$lld" >"$dir/bin/wasm-ld"
    chmod +x "$dir/bin/wasm-ld"
    say "building the linker driver wasm-component-ld"
    env -u CARGO_BUILD_TARGET cargo install --locked --root "$dir/cargo" wasm-component-ld >&2 || return 1
    ln -s "$dir/cargo/bin/wasm-component-ld" "$dir/bin/wasm-component-ld"
  fi
}

links() { # a whole program: proves rustc, its libraries, std and both linkers
  local scratch rc=0
  scratch=$(mktemp -d)
  echo 'fn main() { println!("ok") }' >"$scratch/t.rs"
  "$dir/bin/rustc" --target $target -o "$scratch/t.wasm" "$scratch/t.rs" >&2 && [ -s "$scratch/t.wasm" ] || rc=1
  rm -rf "$scratch"
  return $rc
}

# Toolchains of rustup carry the linkers for wasm with the host's rustc; others may not.
rustup_linker=$(plain_rustc --print sysroot)/lib/rustlib/$(plain_rustc -vV | sed -n 's/^host: //p')/bin
[ -x "$rustup_linker/wasm-component-ld" ] && [ -x "$rustup_linker/gcc-ld/wasm-ld" ] || rustup_linker=""

for suite in $suites; do
  say "fetching rustc and its std for $target from Debian $suite (about 200 MB, once)"
  rm -rf "$apt" "$root" "$dir/.done"
  if fetch "$suite" && unpack && write_commands && links; then
    rm -rf "$apt"
    "$dir/bin/rustc" --version >"$dir/.done"
    say "ready: $(cat "$dir/.done") in $dir"
    echo "$dir/bin/rustc"
    exit 0
  fi
  say "Debian $suite did not work (the reason is above)"
done
die "$why, and none of Debian's suites [$suites] gave one"
