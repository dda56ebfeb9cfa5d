#!/usr/bin/env bash
# Runs the example in two processes over a unix socket of its own.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs launchpad spectator
own_socket

start launchpad --controller --name launchpad --module "$components/launchpad.wasm"
start spectator --name spectator --module "$components/spectator.wasm"
finish spectator # it leaves when its run has returned
stop launchpad
show launchpad spectator
