#!/usr/bin/env bash
# Runs both roles over a unix socket of their own; with PROCESS_NAME in the environment, that one role alone, until it
# is stopped, over the default socket.
#   PROCESS_NAME      the name of the process
#   INIT_CONTROLLER   1, true or yes: this process is the controller too
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs callback-and-fetcher

# The environment variables of the original, as flags of the runtime. The guest is told its name too.
role() { # COMMAND…
  local flags=()
  case ${INIT_CONTROLLER:-} in 1 | true | True | yes) flags=(--controller) ;; esac
  "$@" ${flags[@]+"${flags[@]}"} --name "$PROCESS_NAME" --env "PROCESS_NAME=$PROCESS_NAME" \
    --module "$components/callback-and-fetcher.wasm"
}

if [ -n "${PROCESS_NAME:-}" ]; then
  rm -rf "$work"
  role exec "$DAFFI_RUNTIME"
fi

own_socket
PROCESS_NAME=first INIT_CONTROLLER=true role start first
PROCESS_NAME=second role start second
# Each serves on when it has its answer, since the other may still be asking.
await first "The other process is second"
await second "The other process is first"
stop second
stop first
show first second
