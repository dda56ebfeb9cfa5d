# What every example's run.sh shares: where things are, and runtimes as background processes that never outlive it.
#
#   start NAME ARGUMENT…   a runtime in the background; its output is kept under this name
#   await NAME LINE        until that output has this line
#   finish NAME            until it has ended by itself, which must be with exit code 0
#   stop NAME              asks it to end (SIGTERM), then as finish
#   show NAME…             prints the outputs, each below its name
#
#   DAFFI_RUNTIME      the binary; default: the debug build
#   DAFFI_COMPONENTS   the folder of the guests; default: where guests/build.sh puts them
#   DAFFI_LOG          what the runtimes log; default: error, so that there is what their guests print
#   LIMIT              seconds after which a runtime is taken to hang and is stopped; default: 60
set -euo pipefail
example=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
root=$(cd "$example/../.." && pwd)
build=${CARGO_TARGET_DIR:-$root/target}
DAFFI_RUNTIME=${DAFFI_RUNTIME:-$build/debug/daffi-runtime}
components=${DAFFI_COMPONENTS:-$build/components}
LIMIT=${LIMIT:-60}
export DAFFI_LOG=${DAFFI_LOG:-error} # what a runtime logs, and whom it waits for, is no part of the story
work=$(mktemp -d "${TMPDIR:-/tmp}/daffi.XXXXXX")

cleanup() {
  local code=$? name
  trap - EXIT
  for name in "$work"/*.pid; do
    [ -e "$name" ] || continue
    kill "$(cat "$name")" 2>/dev/null || true
  done
  wait
  # A failure of what runs shows all of it; what is missing, or a signal, speaks for itself.
  if [ "$code" -ne 0 ] && [ "$code" -lt 128 ] && ls "$work"/*.log >/dev/null 2>&1; then
    for name in "$work"/*.log; do
      show "$(basename "$name" .log)" >&2
    done
    echo "error: the example $(basename "$example") failed with code $code" >&2
  fi
  rm -rf "$work"
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The guests of this example, or one clear line on what is missing.
needs() {
  local name
  [ -x "$DAFFI_RUNTIME" ] || { echo "error: no binary at $DAFFI_RUNTIME: run 'make runtime' in $root" >&2; exit 1; }
  for name in "$@"; do
    [ -e "$components/$name.wasm" ] || { echo "error: no guest at $components/$name.wasm: run 'make guests' in $root" >&2; exit 1; }
  done
}

# A socket of the example's own, so that it meets no other controller of this user.
own_socket() {
  export DAFFI_SOCKET=$work/controller.sock
}

start() {
  local name=$1
  shift
  # What reads it may be sooner than what writes it.
  : >"$work/$name.log"
  # timeout passes signals on (once: in the foreground it spares its process group), ends with the code of what it runs, and bounds what hangs.
  timeout --foreground -k 10 "$LIMIT" "$DAFFI_RUNTIME" "$@" >>"$work/$name.log" 2>&1 &
  echo $! >"$work/$name.pid"
}

finish() {
  local code=0
  wait "$(cat "$work/$1.pid")" || code=$?
  rm "$work/$1.pid"
  if [ "$code" -ne 0 ]; then
    echo "error: $1 ended with code $code" >&2
    return 1
  fi
}

stop() {
  kill "$(cat "$work/$1.pid")"
  finish "$1"
}

await() {
  # The reader ends at the line, and tail with its reader or with the process, whichever is first. In the background,
  # since bash would put off a signal until a command in the foreground has ended.
  timeout "$LIMIT" grep -q -m 1 -x -F -e "$2" < <(exec tail -n +1 -f --pid="$(cat "$work/$1.pid")" "$work/$1.log") &
  wait $! || { echo "error: $1 did not print '$2'" >&2; return 1; }
}

show() {
  local name
  for name in "$@"; do
    echo "==> $name <=="
    cat "$work/$name.log"
    echo
  done
}
