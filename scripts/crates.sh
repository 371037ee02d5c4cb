#!/usr/bin/env bash
# Packages the crates as crates.io would get them, unpacks them in a folder that knows nothing of this one, installs the
# command from there and starts it. Nothing is published.
#   crates.sh [DIR]    the .crate files go into DIR
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

# what is not committed is packaged too: a release looks for that before
cargo package -q --no-verify --allow-dirty --locked -p dwh-core -p dwh-cli
crates=("target/package/dwh-core-$version.crate" "target/package/dwh-cli-$version.crate")

target=$PWD/target/crates
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for crate in "${crates[@]}"; do tar -xzf "$crate" -C "$work"; done
# the index has no dwh-core of this version: the one beside it takes its place
(cd "$work" && cargo install -q --no-track --locked --debug --path "dwh-cli-$version" --root . --target-dir "$target" \
  --config 'profile.dev.debug=false' --config "patch.crates-io.dwh-core.path='$work/dwh-core-$version'")
rm -r "$work"/dwh-*
# the sources are gone now: what it needs is in it
(cd "$work" && bin/dwh --version | grep -Fx "dwh $version" && bin/dwh init --help > /dev/null && bin/dwh man | grep -q '^\.TH')
if [ -n "${1:-}" ]; then cp "${crates[@]}" "$1"; fi
