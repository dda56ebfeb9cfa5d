#!/usr/bin/env bash
# Runs the example: a gardener that keeps its schedules, a planner that makes them and goes, and the gardener once more.
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
needs gardener planner
own_socket

start gardener --controller --name gardener --module "$components/gardener.wasm" --state-dir "$work/state"
start planner --name planner --module "$components/planner.wasm"
finish planner # it leaves when its run has returned; what it has planned stays
stop gardener

start again --controller --name gardener --module "$components/gardener.wasm" --state-dir "$work/state"
echo "==> what is scheduled after the gardener has come back <=="
"$DAFFI_RUNTIME" call --wait-ready 'watered()'
"$DAFFI_RUNTIME" schedule ls
lawn=$("$DAFFI_RUNTIME" schedule ls | grep -o '^gardener/[a-z0-9]* .*cron' | cut -d' ' -f1)
"$DAFFI_RUNTIME" schedule cancel "$lawn" >/dev/null
echo "The lawn's plan is cancelled"
stop again
show gardener planner
