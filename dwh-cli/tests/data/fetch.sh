#!/usr/bin/env bash
# fetch.sh DIR: puts the public data sets of the end-to-end tests into DIR, as SQL that psql loads.
# Does nothing if they are there already. Needs pip, python3, and shp2pgsql of the Debian package `postgis`.
set -euo pipefail

fail() { echo "fetch.sh: $1" >&2; exit 1; }

dir=${1:?usage: fetch.sh DIR}
# Natural Earth (public domain) and the boroughs of New York (NYC Open Data), as this wheel carries them
pin='geopandas==0.14.4 --hash=sha256:3bb6473cb59d51e1a7fe2dbc24a1a063fb0ebdeddf3ce08ddbf8c7ddc99689aa'
stamp=$(echo "$pin"; cat "$0")
if [ "$(cat "$dir/stamp" 2> /dev/null)" = "$stamp" ]; then exit 0; fi

command -v shp2pgsql > /dev/null || fail "shp2pgsql is missing: apt-get install postgis"
root=$(cd "$(dirname "$0")/../../.." && pwd)
python=python3
if [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "$pin" > "$work/pin.txt"
# pip itself refuses a file with another hash
"$python" -m pip download --quiet --disable-pip-version-check --retries 10 --timeout 60 --no-deps --only-binary=:all: --require-hashes \
  --dest "$work" -r "$work/pin.txt"
"$python" -m zipfile -e "$work"/geopandas-*.whl "$work"
"$python" -m zipfile -e "$work/geopandas/datasets/nybb_16a.zip" "$work"

mkdir -p "$dir"
data=$work/geopandas/datasets
sql() { # SRID SHAPEFILE TABLE
  shp2pgsql -s "$1" -W LATIN1 -D "$2" "$3" 2> /dev/null > "$dir/${3#*.}.sql"
  [ -s "$dir/${3#*.}.sql" ] || fail "shp2pgsql made nothing of $2"
}
sql 4326 "$data/naturalearth_lowres/naturalearth_lowres.shp" earth.countries
sql 4326 "$data/naturalearth_cities/naturalearth_cities.shp" earth.cities
sql 2263 "$(find "$work" -name nybb.shp)" earth.boroughs
echo "$stamp" > "$dir/stamp"
