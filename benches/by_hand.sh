#!/usr/bin/env bash
# The yardstick: the three-stage load as a person writes it with psql. SOURCE_URL and TARGET_URL say where.
#   by_hand.sh reset               byhand.position_history, empty, same types and key
#   by_hand.sh load FORM FILE      COPY the rows above the target's newest stamp to FILE, fsync it, then one transaction:
#                                  COPY into a temporary table, insert … on conflict do nothing
#   by_hand.sh out FORM FILE       only the first step: COPY of all rows to FILE
# Not yardsticks but floors, what the servers alone need for the same rows, with no watermark, bound, merge or record:
#   by_hand.sh floor FORM FILE     COPY out, kept in FILE and at the same time copied into a new table, byhand.floor, without a
#                                  key, which gets it afterwards; PUT_URL in the environment: FILE goes there too, by curl
#   by_hand.sh pipe FORM FILE      the same for the rows above SINCE (an environment variable), into byhand.floor with its key
#   by_hand.sh restore FORM FILE   only FILE, COPY without a key, the key afterwards
#   by_hand.sh staged FORM FILE    only FILE, COPY into a temporary table
# FORM: ewkb (hex, as COPY writes it) or ewkt (st_asewkt with 30 decimals: the same bytes that dwh writes)
set -euo pipefail
columns=imei,gps_time,recorded_at,geom,speed_kmh,heading,ignition,altitude_m,address,raw
source_sql() { psql -X -q -v ON_ERROR_STOP=1 "$SOURCE_URL" "$@"; }
target_sql() { psql -X -q -v ON_ERROR_STOP=1 "$TARGET_URL" "$@"; }
# what comes in goes out, and into a file, and from there to an S3 server where there is one
keep() {
  if [ -z "${PUT_URL:-}" ]; then tee "$1"; return; fi
  rm -f "$1.put"
  mkfifo "$1.put"
  # it must not hold the pipe to the target open
  tee >(exec > /dev/null; cat > "$1"; came=failed; if (put "$1"); then came=stored; fi; echo "$came" > "$1.put")
}
put() {
  curl -sSf -o /dev/null --aws-sigv4 aws:amz:us-east-1:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
    -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" -T "$1" "$PUT_URL"
}
kept() { if [ -n "${PUT_URL:-}" ]; then read -r came < "$1.put" && [ "$came" = stored ]; fi; }
case ${2:-} in ewkt) list=${columns/geom/st_asewkt(geom, 30)} ;; *) list=$columns ;; esac
case $1 in
  reset)
    target_sql -c "set client_min_messages = warning" -c "drop schema if exists byhand cascade" -c "create schema byhand" -c "
      create table byhand.position_history (
        imei text not null, gps_time timestamptz not null, recorded_at timestamptz not null, geom geometry(Point, 4326),
        speed_kmh numeric(6, 2), heading smallint, ignition boolean, altitude_m double precision, address text, raw jsonb,
        primary key (imei, gps_time))" ;;
  out) source_sql -c "copy (select $list from bench.position_history) to stdout (format csv)" > "$3" ;;
  floor)
    source_sql -c "copy (select $list from bench.position_history) to stdout (format csv)" | keep "$3" |
      target_sql -c "set client_min_messages = warning" -c "drop table if exists byhand.floor" -c begin \
        -c "create table byhand.floor (like byhand.position_history)" -c "copy byhand.floor ($columns) from stdin (format csv, freeze)" \
        -c "alter table byhand.floor add primary key (imei, gps_time)" -c commit
    kept "$3" ;;
  pipe)
    source_sql -c "copy (select $list from bench.position_history where recorded_at > '$SINCE') to stdout (format csv)" | keep "$3" |
      target_sql -c "copy byhand.floor ($columns) from stdin (format csv)"
    kept "$3" ;;
  restore)
    target_sql -c "set client_min_messages = warning" -c "drop table if exists byhand.floor" -c begin \
      -c "create table byhand.floor (like byhand.position_history)" -c "\\copy byhand.floor ($columns) from '$3' (format csv, freeze)" \
      -c "alter table byhand.floor add primary key (imei, gps_time)" -c commit ;;
  staged)
    target_sql -c begin -c "create temp table staged on commit drop as select $columns from byhand.position_history with no data" \
      -c "\\copy staged ($columns) from '$3' (format csv)" -c commit ;;
  load)
    newest=$(target_sql -Atc "select coalesce((select max(recorded_at)::text from byhand.position_history), '-infinity')")
    source_sql -c "copy (select $list from bench.position_history where recorded_at > '$newest') to stdout (format csv)" > "$3"
    sync -d "$3"
    target_sql -f - <<SQL
begin;
create temp table staged on commit drop as select $columns from byhand.position_history with no data;
\\copy staged ($columns) from '$3' (format csv)
insert into byhand.position_history ($columns) select $columns from staged on conflict do nothing;
commit;
SQL
    ;;
  *) sed -n '2,13s/^# //p' "$0" >&2; exit 2 ;;
esac
