#!/usr/bin/env bash
# Runs the example in three processes over a unix socket of its own. The publisher is the one of publisher-consumer.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs publisher fetcher-consumer fetcher-alias
own_socket
# The config names the guest as lying beside it.
cp "$example/alias.toml" "$components/fetcher-alias.wasm" "$work"

# All at once: a typed import waits for its callback.
start publisher --controller --name publisher --module "$components/publisher.wasm"
start consumer --name consumer --module "$components/fetcher-consumer.wasm"
start bookkeeper --config "$work/alias.toml"

finish consumer # it leaves when its run has returned
finish bookkeeper
stop publisher # it would serve on
show publisher consumer bookkeeper
