#!/usr/bin/env bash
# stop.sh FOLDER: stops the servers that `make demo KEEP=1` left running, and removes their folder.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:?the folder that the demo named}
[ -e "$work/dwh.toml" ] && [ -e "$work/pgpass" ] || { echo "$work is no folder of the demo" >&2; exit 2; }
"$root/scripts/s3.sh" down "$work/s3"
"$root/scripts/postgres.sh" down "$work/source"
"$root/scripts/postgres.sh" down "$work/target"
rm -rf "$work"
