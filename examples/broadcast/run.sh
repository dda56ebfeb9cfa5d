#!/usr/bin/env bash
# Runs the example in three processes over a unix socket of its own.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs restaurant guide
own_socket

start guide --controller --name guide --module "$components/guide.wasm"
start dragon --name green-dragon --module "$components/restaurant.wasm" --env "MENU=mushrooms 7.5, ale 3"
start pony --name prancing-pony --module "$components/restaurant.wasm" --env "MENU=stew 9.25, ale 2.8"

await guide "The first to answer has 2 dishes"
stop dragon # they would serve on
stop pony
finish guide # it leaves when its run has returned; as the controller, after the others
show guide
