#!/usr/bin/env bash
# The walk through the Redshift ETL's own README, with dwh: from an empty database to loaded tables. Works in a folder of its
# own, which is given. In the environment:
#   DATABASE_PRODUCTION   the upstream database
#   DATA_WAREHOUSE_ADMIN  the warehouse as its administrator
#   DATA_WAREHOUSE_ETL    the warehouse as the login that loads it; `dwh setup` makes that one
#   BLOB                  the blob store, as a folder or a bucket
#   PASSWORD              that of the user `tom`; ETL_USER, TOM and ANN may give the users other names
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
TOM=${TOM:-tom} ANN=${ANN:-ann} ETL_USER=${ETL_USER:-spark_etl}
cd "$1"
cp -r "$here/dwh.toml" "$here/models" .

step() { printf '\n== %s\n' "$1"; }

step "Roles, groups, and a schema for each source"
dwh setup --dry-run
dwh setup

step "Users: one who reads, one for programs, and one with a schema of her own"
printf '%s\n' "$PASSWORD" | dwh user add "$TOM" --password-stdin
dwh user add "$ETL_USER" --group etl
dwh user add "$ANN" --schema

step "Table designs: pulled, one of them changed; a second pull leaves it alone"
dwh design pull 'www.orders*' --dry-run
dwh design pull
sed -i 's/^-- create index on /create index on /' designs/www/orders.sql
dwh design pull

step "Tables: by their designs where there are some"
dwh migrate --dry-run
dwh migrate
dwh design diff
dwh check > check.txt || { cat check.txt; exit 1; }

step "One table in two steps: dump, then load"
dwh run 'www.orders*' --dry-run
dwh extract www.orders > orders.json
dwh load --params - < orders.json

step "Tables by a pattern, those of one source, and all"
dwh run 'www.order*'
dwh run www
dwh run
dwh verify

step "Tables from SELECTs, in the order in which they read each other; then beside them, to try a change"
dwh models list
dwh models run --dry-run
dwh models run
dwh run www.orders --models
dwh models run -p trial

step "The same under another prefix, beside it"
export PREFIX=wip SCHEMA_PREFIX=wip_
dwh setup
dwh migrate www.orders
dwh run www.orders
dwh models run -p wip
unset PREFIX SCHEMA_PREFIX

step "Users go; what they own goes to the owner role"
dwh user remove "$ETL_USER" --dry-run
dwh user remove "$ETL_USER"
dwh user remove "$ANN" --reassign
