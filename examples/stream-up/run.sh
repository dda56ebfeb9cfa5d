#!/usr/bin/env bash
# Runs the example in two processes over a unix socket of its own.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs averager sensor
own_socket

start averager --controller --name averager --module "$components/averager.wasm"
start sensor --name sensor --module "$components/sensor.wasm"
finish sensor # it leaves when its run has returned
stop averager
show averager sensor
