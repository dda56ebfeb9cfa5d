#!/usr/bin/env bash
# Runs the example in two processes over a unix socket of its own.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs cook waiter
own_socket

start cook --controller --name cook --module "$components/cook.wasm" --drain-timeout 1ms
start waiter --name waiter --module "$components/waiter.wasm"

finish waiter # it leaves when its run has returned
stop cook     # it would serve on, and the stew is still on the stove
show cook waiter
