#!/usr/bin/env bash
# Runs the example in two processes over a unix socket of its own.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs worker boss
own_socket

start worker --controller --name worker --module "$components/worker.wasm"
start boss --name boss --module "$components/boss.wasm"

finish boss # it leaves when its run has returned
stop worker # it would serve on
show worker boss
