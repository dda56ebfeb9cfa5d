#!/usr/bin/env bash
# Runs the example in two processes: over the default unix socket, or with the argument `tcp` over TCP.
#   URL    where to listen for `tcp`; default: tcp://127.0.0.1:8888
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs publisher consumer

case ${1:-unix} in
  unix)
    listen=() connect=()
    # A controller that this user already runs keeps the default socket.
    if "$DAFFI_RUNTIME" ps >/dev/null 2>&1; then own_socket; fi
    ;;
  tcp)
    url=${URL:-tcp://127.0.0.1:8888}
    listen=(--listen "$url") connect=(--connect "$url")
    ;;
  *)
    echo "usage: run.sh [unix|tcp]" >&2
    exit 2
    ;;
esac

# Both at once: whoever comes first waits for the other.
start publisher --controller ${listen[@]+"${listen[@]}"} --name publisher --module "$components/publisher.wasm"
start consumer ${connect[@]+"${connect[@]}"} --name consumer --module "$components/consumer.wasm"

finish consumer # it leaves when its run has returned
stop publisher  # it would serve on
show publisher consumer
