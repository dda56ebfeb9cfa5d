#!/usr/bin/env bash
# Runs the example in three processes over a unix socket of its own, with three kinds of shop, one after another.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs pipeline-shop pipeline-shop-async pipeline-till pipeline-tax
own_socket

start till --controller --name till --module "$components/pipeline-till.wasm"
start tax --name tax --module "$components/pipeline-tax.wasm"

buy() { # COMPONENT INSTANCES WHAT: opens a shop, buys something there, and closes it
  start "$1-$2" --name shop --module "$components/$1.wasm" --instances "$2"
  echo "==> $1 as $2 <=="
  "$DAFFI_RUNTIME" call "buy(\"$3\")" --wait-ready --log error
  echo
  stop "$1-$2"
}

buy pipeline-shop pool:2 tea
buy pipeline-shop-async singleton cake
buy pipeline-shop singleton tea # refused: the only instance waits for this very call
stop tax
stop till
