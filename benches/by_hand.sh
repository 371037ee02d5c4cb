#!/usr/bin/env bash
# The yardstick: the three-stage load as a person writes it with psql. SOURCE_URL and TARGET_URL say where.
#   by_hand.sh reset               byhand.position_history, empty, same types and key
#   by_hand.sh load FORM FILE      COPY the rows above the target's newest stamp to FILE, fsync it, then one transaction:
#                                  COPY into a temporary table, insert … on conflict do nothing
#   by_hand.sh out FORM FILE       only the first step: COPY of all rows to FILE
# Not yardsticks but floors, what the steps need that cannot be left out, with no catalog, watermark, merge or record. A source must
# not wait for a target, FILE is written to the disk, and a copy of it that is read back is its archive:
#   by_hand.sh floor FORM FILE     COPY out into FILE; behind it a COPY of FILE into a new table, byhand.floor, without a key, which
#                                  it gets afterwards; PUT_URL in the environment: FILE goes there, by curl, is copied there in
#                                  the end, and the copy is read; PACK=zstd: zstd packs FILE meanwhile
#   by_hand.sh newer FORM FILE     the same for the rows above SINCE (an environment variable), into byhand.floor with its key; first
#                                  comes the safe bound: two looks at who is writing, 10 ms apart
#   by_hand.sh windows FORM FILE   the same in windows of a day, each a transaction: the first one as in `floor`, the others into the
#                                  table with its key
#   by_hand.sh restore FORM FILE   only FILE, COPY without a key, the key afterwards
#   by_hand.sh staged FORM FILE    only FILE, COPY into a temporary table
# FORM: ewkb (hex, as COPY writes it) or ewkt (st_asewkt with 30 decimals: the same bytes that dwh writes)
set -euo pipefail
columns=imei,gps_time,recorded_at,geom,speed_kmh,heading,ignition,altitude_m,address,raw
source_sql() { psql -X -q -v ON_ERROR_STOP=1 "$SOURCE_URL" "$@"; }
target_sql() { psql -X -q -v ON_ERROR_STOP=1 "$TARGET_URL" "$@"; }
# behind CONDITION FILE PSQL-ARGUMENTS: the rows go into FILE, which waits for nobody; behind it the target does what the arguments say
behind() {
  local condition=$1 file=$2 reading loading packing=
  shift 2
  : > "$file"
  source_sql "${looks[@]}" -c "copy (select $list from bench.position_history $condition) to stdout (format csv)" > "$file" & reading=$!
  follow $reading "$file" | target_sql "$@" & loading=$!
  if [ -n "${PACK:-}" ]; then follow $reading "$file" | "$PACK" -1 -q -f -o "$file.packed" & packing=$!; fi
  wait $reading
  if [ -n "$packing" ]; then wait "$packing"; fi
  if [ -z "${PUT_URL:-}" ]; then
    sync -d "$file${PACK:+.packed}"
  elif [ -s "$file" ]; then
    ask_s3 -T "$file" "$PUT_URL"
  fi
  wait $loading
  if [ -n "${PUT_URL:-}" ] && [ -s "$file" ]; then
    ask_s3 -X PUT -H "x-amz-copy-source: /${PUT_URL#*://*/}" "$PUT_URL.archived"
    ask_s3 "$PUT_URL.archived"
  fi
}
# follow PID FILE: FILE from its beginning, for as long as the process writes to it
follow() { tail -q -c +1 -s 0.001 -f --pid="$1" "$2"; }
ask_s3() {
  curl -sSf -o /dev/null --aws-sigv4 aws:amz:us-east-1:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
    -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$@"
}
case ${2:-} in ewkt) list=${columns/geom/st_asewkt(geom, 30)} ;; *) list=$columns ;; esac
look="select count(*) from pg_stat_activity"
looks=()
new=(-c "set client_min_messages = warning" -c "drop table if exists byhand.floor" -c begin -c "create table byhand.floor (like byhand.position_history)")
key=(-c "alter table byhand.floor add primary key (imei, gps_time)" -c commit)
case $1 in
  reset)
    target_sql -c "set client_min_messages = warning" -c "drop schema if exists byhand cascade" -c "create schema byhand" -c "
      create table byhand.position_history (
        imei text not null, gps_time timestamptz not null, recorded_at timestamptz not null, geom geometry(Point, 4326),
        speed_kmh numeric(6, 2), heading smallint, ignition boolean, altitude_m double precision, address text, raw jsonb,
        primary key (imei, gps_time))" ;;
  out) source_sql -c "copy (select $list from bench.position_history) to stdout (format csv)" > "$3" ;;
  floor)
    behind "" "$3" "${new[@]}" -c "copy byhand.floor ($columns) from stdin (format csv, freeze)" "${key[@]}" ;;
  newer)
    looks=(-c "\\o /dev/null" -c "$look" -c "select pg_sleep(0.01)" -c "$look" -c "\\o")
    behind "where recorded_at > '$SINCE'" "$3" -c "copy byhand.floor ($columns) from stdin (format csv)" ;;
  windows)
    : > "$3"
    source_sql -Atc "select generate_series(date_trunc('day', min(recorded_at)), max(recorded_at), '1 day') from bench.position_history" |
      while read -r day; do
        from="psql -X -q -v ON_ERROR_STOP=1 \"$SOURCE_URL\" -c \"copy (select $list from bench.position_history"
        from+=" where recorded_at >= ''$day'' and recorded_at < ''$day''::timestamptz + interval ''1 day'') to stdout (format csv)\" | tee -a \"$3\""
        echo "begin;"
        echo "\\copy byhand.floor ($columns) from program '$from' (format csv)"
        if [ -z "${keyed:-}" ]; then echo "alter table byhand.floor add primary key (imei, gps_time);"; keyed=yes; fi
        echo "commit;"
      done > "$3.sql"
    target_sql "${new[@]}" -c commit -f "$3.sql" ;;
  restore) target_sql "${new[@]}" -c "\\copy byhand.floor ($columns) from '$3' (format csv, freeze)" "${key[@]}" ;;
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
  *) sed -n '2,18s/^# //p' "$0" >&2; exit 2 ;;
esac
