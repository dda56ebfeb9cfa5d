#!/usr/bin/env bash
# Runs the example in two processes over a unix socket of its own; with the argument `async`, the async variants.
#   ROUNDS     how often each calls the other; default: 10
#   PAUSE_MS   how long each waits after a call, in milliseconds; default: 1000
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
case ${1:-sync} in
  sync) variant= ;;
  async) variant=-async ;;
  *)
    echo "usage: run.sh [sync|async]" >&2
    exit 2
    ;;
esac
needs "bidirectional-publisher$variant" "bidirectional-consumer$variant"
own_socket
# A guest sees of the environment what it is given.
settings=(--env "ROUNDS=${ROUNDS:-10}" --env "PAUSE_MS=${PAUSE_MS:-1000}")

start publisher --controller --name publisher --module "$components/bidirectional-publisher$variant.wasm" "${settings[@]}"
start consumer --name consumer --module "$components/bidirectional-consumer$variant.wasm" "${settings[@]}"

# Each serves on when its own loop has ended, since the other may still be calling.
await publisher "publisher is done"
await consumer "consumer is done"
stop consumer
stop publisher
show publisher consumer
