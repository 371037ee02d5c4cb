#!/usr/bin/env bash
# From nothing to a finished pipeline: two PostgreSQL servers, a fleet that keeps writing, three runs of dwh, and a
# comparison of both ends. Everything lives in a folder of its own under TMPDIR and is gone when the demo ends.
#   BLOB=local|s3     where the CSV files go (local)
#   PROFILE=release|debug
#   KEEP=1            leave the servers running and say how to stop them
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/examples/demo
BLOB=${BLOB:-local} PROFILE=${PROFILE:-release} KEEP=${KEEP:-}
case $BLOB in local | s3) ;; *) echo "BLOB is \`local\` or \`s3\`, not \`$BLOB\`" >&2; exit 2 ;; esac
case $PROFILE in release | debug) ;; *) echo "PROFILE is \`release\` or \`debug\`, not \`$PROFILE\`" >&2; exit 2 ;; esac

work= writer= step=0 failures=0

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
heading() { step=$((step + 1)); printf '\n%s%d  %s%s\n' "$bold" "$step" "$1" "$plain"; }
note() { printf '%s   %s%s\n' "$dim" "$1" "$plain"; }

stop_writer() {
  [ -n "$writer" ] || return 0
  kill "$writer" 2>/dev/null || true
  wait "$writer" 2>/dev/null || true
  writer=
}

stop_all() {
  stop_writer
  [ -n "$work" ] || return 0
  "$root/scripts/s3.sh" down "$work/s3"
  "$root/scripts/postgres.sh" down "$work/source"
  "$root/scripts/postgres.sh" down "$work/target"
  rm -rf "$work"
}

finish() {
  local code=$?
  trap - EXIT
  if [ -n "$KEEP" ] && [ -n "$work" ]; then
    stop_writer
    printf '\nThe servers are left running.\n'
    printf '  look around   cd %s && %s status\n' "$work" "$dwh"
    printf '  source        %s\n  target        %s\n' "PGPASSFILE=$work/pgpass psql -h 127.0.0.1 -p ${source_port:-?} -U postgres fleet" \
      "PGPASSFILE=$work/pgpass psql -h 127.0.0.1 -p ${target_port:-?} -U postgres warehouse"
    printf '  stop          %s/examples/demo/stop.sh %s\n' "$root" "$work"
  else
    stop_all
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

psql_as() { # PORT DATABASE ARGS...
  "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$1" -U postgres -d "$2" "${@:3}"
}
source_sql() { psql_as "$source_port" fleet "$@"; }
target_sql() { psql_as "$target_port" warehouse "$@"; }
run_dwh() { printf '   $ dwh %s\n' "$*"; "$dwh" --config "$work/dwh.toml" "$@"; }
# a line a run as it ends (stderr), without the table of all runs that follows on stdout
watch_run() { printf '   $ dwh run\n'; "$dwh" --config "$work/dwh.toml" run > /dev/null; }
secret() { head -c 24 /dev/urandom | base64 | tr -d '/+=\n'; }

build() {
  local flag=()
  if [ "$PROFILE" = release ]; then flag=(--release); fi
  (cd "$root" && cargo build -q -p dwh-cli "${flag[@]}")
  dwh=${CARGO_TARGET_DIR:-$root/target}/$PROFILE/dwh
  bin=$("$root/scripts/postgres.sh" bin)
}

start_servers() {
  work=$(mktemp -d "${TMPDIR:-/tmp}/dwh-demo.XXXXXX")
  chmod 711 "$work"   # the servers' user must be able to pass through
  source_port=$("$root/scripts/postgres.sh" up "$work/source" max_prepared_transactions=5)
  target_port=$("$root/scripts/postgres.sh" up "$work/target")
  local app ro loader
  app=$(secret) ro=$(secret) loader=$(secret)
  (umask 077
    printf '127.0.0.1:%s:*:%s:%s\n' "$source_port" postgres "$(cat "$work/source/password")" \
      "$target_port" postgres "$(cat "$work/target/password")" "$source_port" fleet_app "$app" > "$work/pgpass"
    printf 'DWH_SOURCE_URL=postgresql://fleet_ro:%s@127.0.0.1:%s/fleet\nDWH_TARGET_URL=postgresql://dwh_loader:%s@127.0.0.1:%s/warehouse\n' \
      "$ro" "$source_port" "$loader" "$target_port" > "$work/.env")
  export PGPASSFILE=$work/pgpass
  psql_as "$source_port" postgres -c 'create database fleet'
  psql_as "$target_port" postgres -c 'create database warehouse'
  # passwords go through stdin: an argument would show in the process list
  { printf "\\\\set app '%s'\n\\\\set ro '%s'\n" "$app" "$ro"; cat "$here/source.sql"; } | source_sql > /dev/null
  { printf "\\\\set loader '%s'\n\\\\set db warehouse\n" "$loader"; cat "$here/target.sql"; } | target_sql > /dev/null
  note "source 127.0.0.1:$source_port, target 127.0.0.1:$target_port, all of it in $work"
}

start_blobs() {
  cp "$here/dwh.toml" "$work/dwh.toml"
  if [ "$BLOB" = s3 ]; then
    AWS_ACCESS_KEY_ID=$(secret) AWS_SECRET_ACCESS_KEY=$(secret)
    export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
    local endpoint
    endpoint=$("$root/scripts/s3.sh" up "$work/s3" bronze)
    printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >> "$work/.env"
    printf '[blob]\nurl = "s3://bronze"\nendpoint = "%s"\n' "$endpoint" >> "$work/dwh.toml"
    note "CSV files go to s3://bronze at $endpoint"
  else
    mkdir "$work/blobs"
    printf '[blob]\nurl = "file://%s/blobs"\n' "$work" >> "$work/dwh.toml"
    note "CSV files go to $work/blobs"
  fi
}

start_writer() {
  "$bin/pgbench" -n -h 127.0.0.1 -p "$source_port" -U fleet_app -c 4 -R 40 -T 3600 \
    -f "$here/writer/short.sql@12" -f "$here/writer/slow.sql@1" -f "$here/writer/trip.sql@3" fleet \
    > "$work/writer.log" 2>&1 < /dev/null &
  writer=$!
  wait_until "select count(*) >= 20 from fleet.position_history where recorded_at > now() - interval '1 minute' and raw = '{\"live\": true}'" \
    "the writer does not write"
}

wait_until() { # SQL that says t, MESSAGE
  local tick
  for ((tick = 0; tick < 200; tick++)); do
    if [ "$(source_sql -Atc "$1")" = t ]; then return 0; fi
    sleep 0.1
  done
  echo "$2" >&2
  tail -5 "$work/writer.log" >&2
  exit 1
}

change_fleet() {
  source_sql <<'SQL'
insert into fleet.position_history (imei, gps_time, speed_kmh, address)
select '864000000000007', now() - i * interval '1 millisecond', i % 120, 'arrived in one batch' from generate_series(1, 5000) i
on conflict do nothing;
update fleet.trips set stops = array['corrected'], updated_at = now() where trip_id <= 100;
delete from fleet.devices where imei = '864000000000060';
update fleet.devices set active = false, notes = 'in the workshop' where imei = '864000000000001';
update fleet.drivers set imei = null where driver_id = 50;
SQL
  note "5,000 positions in one batch, 100 trips corrected, a device sold, a driver gone"
}

compare() { # TABLE COLUMNS [CONDITION AT THE TARGET]
  local sql source target verdict=PASS
  # the text of a row has every column as the server writes it, geometry as hex EWKB: equal sums, equal rows
  sql="set timezone = 'UTC'; select count(*) || ' ' || coalesce(sum(hashtextextended(row($2)::text, 0)), 0)"
  source=$(source_sql -Atc "$sql from fleet.$1")
  target=$(target_sql -Atc "$sql from bronze.$1 ${3:-}")
  if [ "$source" != "$target" ]; then verdict=FAIL failures=$((failures + 1)); fi
  printf '   %-20s %12s %12s   %s\n' "$1" "${source%% *}" "${target%% *}" "$verdict"
}

compare_all() {
  printf '   %-20s %12s %12s   %s\n' table "source rows" "bronze rows" "rows and contents"
  compare position_history "imei, gps_time, recorded_at, geom, speed_kmh, heading, ignition, address, raw"
  compare trips "trip_id, imei, started_at, ended_at, distance_km, path, stops, updated_at"
  compare alarms "alarm_id, imei, kind, message, recorded_at"
  compare devices "imei, plate, model, active, notes"
  compare drivers "driver_id, name, licence, imei, since" "where _uploaded_at = (select max(_uploaded_at) from bronze.drivers)"
}

csv_count() { find "$1" -name '*.csv' | wc -l; }

show_blobs() {
  if [ "$BLOB" = s3 ]; then
    target_sql -Atc "select '   ' || table_name || ': ' || count(*) || ' CSV, ' || pg_size_pretty(sum(bytes)) || ', the last ' || (array_agg(csv_path order by run_id desc))[1] from dwh_control.extract_runs where status = 'loaded' group by table_name order by 1"
    return
  fi
  local folder
  for folder in "$work"/blobs/fleet/processed/*/; do
    printf '   %-40s %4d CSV and manifests, %s\n' "${folder#"$work/blobs/"}" "$(csv_count "$folder")" "$(du -sh "$folder" | cut -f1)"
  done
  printf '   %-40s %4d CSV: extracted and not yet loaded\n' fleet/exports/ "$(csv_count "$work/blobs/fleet/exports")"
}

heading "Build dwh ($PROFILE)"
build
SECONDS=0

heading "Two PostgreSQL servers with PostGIS, a month of fleet data, roles with the least rights"
start_servers
start_blobs

heading "The fleet keeps writing: 40 transactions a second, some held open for a second"
start_writer

heading "Control schema, roles, views and bronze tables in the target"
run_dwh migrate

heading "Pre-flight: every connection, right, key and watermark looked at"
run_dwh check

heading "First run: 30 days of history in windows of one day"
watch_run

heading "More happens in the fleet"
change_fleet

heading "Second run: only what is new"
watch_run
run_dwh status

heading "The writer stops; third run"
stop_writer
wait_until "select count(*) = 0 from pg_stat_activity where usename = 'fleet_app'" "the writer's sessions do not end"
watch_run

heading "What landed"
compare_all
printf '\n'
show_blobs
printf '\n'
run_dwh runs --limit 8

heading "Where to look next"
note "docs/getting-started.md does the same for a database of yours; docs/configuration.md says what can be set"
note "docs/safe-bound.md tells why no row of those slow transactions was lost"
if [ -z "$KEEP" ]; then note "make demo KEEP=1 leaves everything running, to look around"; fi
printf '\n'
if [ "$failures" -gt 0 ]; then
  printf 'FAIL: %d of 5 tables differ (%d s)\n' "$failures" "$SECONDS"
  exit 1
fi
printf 'PASS: 5 of 5 tables are equal at both ends (%d s)\n' "$SECONDS"
