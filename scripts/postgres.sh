#!/usr/bin/env bash
# Throwaway PostgreSQL clusters with PostGIS on 127.0.0.1, for the demo and the benchmarks.
#   postgres.sh bin                        the folder of the newest binaries that have PostGIS; fails if there are none
#   postgres.sh up DIR [NAME=VALUE ...]    makes a cluster in DIR with these settings, starts it, prints its port
#   postgres.sh down DIR                   stops it
# The superuser is `postgres`, its password lies in DIR/password (0600). PostgreSQL refuses root: called by root, the
# server runs as the user `postgres`, who must be able to enter the folder above DIR.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

usable() { # FOLDER: PostgreSQL 13 or newer, with PostGIS
  local bin=$1 major share
  [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && [ -x "$bin/psql" ] || return 1
  major=$("$bin/postgres" --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
  [ "$major" -ge 13 ] || return 1
  share=$("$bin/pg_config" --sharedir 2>/dev/null || echo "/usr/share/postgresql/$major")
  [ -e "$share/extension/postgis.control" ]
}

bin() {
  local candidate
  # not a pipe: the first usable folder ends the reading, and a writer cut off would be an error of the whole
  while read -r candidate; do
    if usable "$candidate"; then echo "$candidate"; return 0; fi
  done < <({ if command -v pg_config >/dev/null; then pg_config --bindir; fi
    printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin | sort -rV; })
  echo "no PostgreSQL >= 13 with PostGIS was found: run \`make setup\`" >&2
  return 1
}

as_server() { # runs a command as the user that owns the cluster
  if [ "$(id -u)" = 0 ]; then
    (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@")
  else
    "$@"
  fi
}

up() {
  local dir=$1 bin port setting attempt
  shift
  bin=$(bin)
  mkdir -p "$dir"
  (umask 077; head -c 24 /dev/urandom | base64 | tr -d '/+=\n' > "$dir/password")
  # initdb reads the password as the server's user: a copy for as long as that takes
  (umask 077; cp "$dir/password" "$dir/password.init")
  if [ "$(id -u)" = 0 ]; then chown postgres: "$dir" "$dir/password.init"; fi
  as_server "$bin/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile="$dir/password.init" -E UTF8 --locale=C.UTF-8 \
    > "$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
  rm "$dir/password.init"
  { printf '%s\n' "listen_addresses = '127.0.0.1'" "unix_socket_directories = ''" "timezone = 'UTC'" "max_connections = 60"
    for setting in "$@"; do printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"; done
  } | as_server tee -a "$dir/data/postgresql.conf" > /dev/null
  # another process may take the port between the choice and the start
  for attempt in 1 2 3 4 5; do
    port=$(python3 "$root/scripts/free_ports.py" 1)
    if as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -o "-p $port" -w -t 60 start > /dev/null 2>&1; then
      echo "$port"
      return 0
    fi
  done
  tail -5 "$dir/data/server.log" >&2 || true
  echo "PostgreSQL does not start in $dir" >&2
  exit 1
}

down() {
  [ -s "$1/data/postmaster.pid" ] || return 0
  as_server "$(bin)/pg_ctl" -D "$1/data" -m immediate -w -t 60 stop > /dev/null
}

case "${1:-}:$#" in
  bin:1) bin ;;
  up:[2-9] | up:1?) shift; up "$@" ;;
  down:2) down "$2" ;;
  *) sed -n '2,7s/^# //p' "$0" >&2; exit 2 ;;
esac
