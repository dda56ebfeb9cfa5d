#!/usr/bin/env bash
# Fuzzes one target, or all of them in turn: run.sh TARGET|all SECONDS [libFuzzer flags]
#
# On a stable compiler: coverage is LLVM's own pass. With a nightly one and cargo-fuzz, `cargo fuzz run TARGET` does the
# same with AddressSanitizer. A finding lies in artifacts/TARGET; once it is fixed, it goes to corpus/TARGET under a name
# that says what it was, and `cargo test` keeps it from coming back.
set -euo pipefail
cd "$(dirname "$0")"

targets=(frames values texts journal controller node)
[ $# -ge 2 ] || { echo "usage: $0 ${targets[*]} | all  SECONDS [libFuzzer flags]" >&2; exit 2; }
target=$1 seconds=$2
shift 2
[ "$target" = all ] || targets=("$target")

host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
# With a target, build scripts and macros are built without the flags.
cargo build --release --target "$host" --bins
built=${CARGO_TARGET_DIR:-target}/$host/release

for target in "${targets[@]}"; do
  # What it learns stays on this machine; the corpus has what is worth keeping.
  mkdir -p "$built/learnt/$target" "artifacts/$target" "corpus/$target"
  "$built/$target" "$built/learnt/$target" "corpus/$target" -max_total_time="$seconds" -max_len=2048 -timeout=5 \
    -rss_limit_mb=2048 -artifact_prefix="artifacts/$target/" "$@"
done
