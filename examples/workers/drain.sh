#!/bin/sh
# One of several workers that share the work which `dwh plan` lists, on this machine or on others:
#   drain.sh [GLOB...] [--from TIME --to TIME]
# Start as many as you like, all with the same arguments. Each takes the units of tables that no other holds; when one dies,
# another goes on behind its last window. It ends when every back-fill is done: those that were cut off, and
# with --from those of that range. A table that fails, or cannot be planned, stops no other: the code of the last one that did
# is that of the worker. Runs that are due are left to the schedule.
# A worker makes its list when it starts, and what is done by then counts as done before: one that joins late reads again what
# the others have finished. So that it does not, make the list once, and give it to all:
#   dwh plan --output json [GLOB...] [--from TIME --to TIME] > work.json;  DWH_WORKER_PLAN=work.json drain.sh
if [ -z "${DWH_WORKER_PLAN:-}" ]; then
  work=$(dwh --quiet plan --output json "$@")
elif [ $# -gt 0 ]; then
  echo "drain.sh: DWH_WORKER_PLAN says what is to be done: give no tables and no range besides" >&2
  exit 2
else
  work=$(cat -- "$DWH_WORKER_PLAN")
fi
failed=$?
units=$(printf '%s' "$work" | jq -r '.plans[]?.units[] | select(.kind == "backfill") | .command') || exit
while [ -n "$units" ]; do
  left=
  while IFS= read -r unit; do
    [ -n "$unit" ] || continue
    sh -c "$unit --output json" > /dev/null < /dev/null
    code=$?
    # 5: another one holds the table; it ends, or dies, and then it is free. What was done meanwhile is not done again
    if [ "$code" -eq 5 ]; then left="$left$unit
"; elif [ "$code" -gt 128 ]; then exit "$code"; elif [ "$code" -ne 0 ]; then failed=$code; fi
  done <<END
$units
END
  units=$left
  if [ -n "$units" ]; then sleep "${DWH_WORKER_PAUSE:-5}"; fi
done
exit "$failed"
