#!/bin/sh
# One of several workers that share the tables of a project, on this machine or on others: worker.sh [GLOB...]
# Start as many as you like. Each takes a table that no other holds, loads it window by window, and goes on with the
# next; when one dies, another goes on where its last window was committed. It ends when every table is up to date.
while true; do
  dwh --quiet run --jobs 1 "$@" > /dev/null
  code=$?
  # 5: what is left is held by others; they end, or die, and then it is free
  [ "$code" -eq 5 ] || exit "$code"
  sleep "${DWH_WORKER_PAUSE:-5}"
done
