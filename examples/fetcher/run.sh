#!/usr/bin/env bash
# Runs the example in two processes over a unix socket of its own. The publisher is the one of publisher-consumer.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs publisher fetcher-consumer
own_socket

# Both at once: a typed import waits for its callback.
start publisher --controller --name publisher --module "$components/publisher.wasm"
start consumer --name consumer --module "$components/fetcher-consumer.wasm"

finish consumer # it leaves when its run has returned
stop publisher  # it would serve on
show publisher consumer
