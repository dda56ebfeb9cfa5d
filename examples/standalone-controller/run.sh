#!/usr/bin/env bash
# Runs a controller by itself and three nodes, over a unix socket of their own.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs greeter visitor
own_socket

start visitor --name visitor --module "$components/visitor.wasm"
start greeter-1 --name greeter-1 --module "$components/greeter.wasm"
start greeter-2 --name greeter-2 --module "$components/greeter.wasm"
start controller --controller --no-node

finish visitor # it leaves when its run has returned
stop greeter-1 # the greeters would serve on
stop greeter-2
stop controller
show controller greeter-1 greeter-2 visitor
