#!/usr/bin/env bash
# Builds what a release consists of into target/dist/VERSION: the command and the wheel for x86-64 and aarch64, the source
# distribution of the Python package, the crates, the notes, and the SHA-256 of each.
#   release.sh [--draft]      all of it; a draft takes what is unreleased for its notes, and any tree
#   release.sh notes [NAME]   prints the notes of a version out of CHANGELOG.md, or of `Unreleased`
#   release.sh wheel TARGET   the wheel alone, such as aarch64-unknown-linux-gnu
# Command and wheels run with glibc 2.17 or newer: zig links against that one, whatever this machine has. `setup.sh release`
# installs it. Nothing is published and no tag is made. Of a version such as 0.2.0-rc.1 the wheels are called 0.2.0rc1.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
dist=$root/target/dist/$version
glibc=2.17
targets=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu)

export PATH=$root/.venv/release/bin:$PATH
export CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_STRIP=symbols
# the same files whoever builds, and no path of this machine in them
export RUSTFLAGS="--remap-path-prefix=$root=/dwh --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

fail() { echo "release: $1" >&2; exit 1; }
say() { echo "release: $1" >&2; }

# As Python writes a version (PEP 440), which maturin puts into the names of wheels and of the source distribution.
python_version() {
  local number='(0|[1-9][0-9]*)' written
  local plain="$number\\.$number\\.$number"
  written=$(printf '%s\n' "$version" | sed -nE "s/^($plain)\$/\\1/p; s/^($plain)-(alpha|beta|rc|dev)\\.?$number\$/\\1-\\5\\6/p" |
    sed -e 's/-alpha/a/; s/-beta/b/; s/-rc/rc/; s/-dev/.dev/')
  [ -n "$written" ] ||
    fail "Python cannot say the version \`$version\`: write \`version\` in Cargo.toml as 1.2.3, or as 1.2.3-rc.1 (alpha, beta, rc, dev)"
  printf '%s\n' "$written"
}

notes() { # NAME
  local text
  text=$(awk -v head="## [$1]" 'index($0, "## [") == 1 { inside = index($0, head) == 1; next } inside' CHANGELOG.md)
  [ -n "${text//[[:space:]]/}" ] ||
    fail "CHANGELOG.md has no notes for \`$1\`: write them under \`## [$1] - $(date +%F)\`, or raise \`version\` in Cargo.toml"
  printf '%s\n' "$text" | sed -e '/./,$!d'
}

clean() {
  local changed
  changed=$(git status --porcelain)
  [ -z "$changed" ] || fail "the tree has changes that are not committed; commit or stash them:
$changed"
}

# What is built must not ask for a newer glibc than it says, nor for a library that is not on every machine.
portable() { # FILE
  local newest libraries
  newest=$(readelf -WV "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
  [ "$(printf '%s\n' "${newest#GLIBC_}" "$glibc" | sort -V | tail -1)" = "$glibc" ] || fail "$1 asks for $newest"
  libraries=$(readelf -Wd "$1" | sed -nE 's/.*NEEDED.*\[(.*)\]/\1/p' |
    grep -vE '^(lib(c|m|dl|rt|pthread|gcc_s)\.so\.[0-9]+|ld-linux.*)$' || true)
  [ -z "$libraries" ] || fail "$1 asks for $libraries"
}

command_for() { # TARGET
  say "the command for $1"
  cargo zigbuild -q --release --locked -p dwh-cli --target "$1.$glibc"
  portable "target/$1/release/dwh"
}

# In one folder: the command, completions, man page and licenses.
archive() { # TARGET
  local folder="dwh-$version-$1" work
  # the one that this machine can run speaks for both
  local dwh=target/${targets[0]}/release/dwh
  work=$(mktemp -d)
  mkdir -p "$work/$folder"/{completions,man}
  cp "target/$1/release/dwh" LICENSE-* "$work/$folder/"
  "$dwh" completions bash > "$work/$folder/completions/dwh.bash"
  "$dwh" completions fish > "$work/$folder/completions/dwh.fish"
  "$dwh" completions zsh > "$work/$folder/completions/_dwh"
  "$dwh" man > "$work/$folder/man/dwh.1"
  tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c "$folder" |
    gzip -9n > "$dist/$folder.tar.gz"
  rm -r "$work"
}

wheel() { # TARGET
  local wheel work
  say "the wheel for $1"
  .venv/bin/maturin build -q --release --locked --zig --target "$1" --manifest-path dwh-py/Cargo.toml \
    --compatibility "manylinux_${glibc/./_}" --auditwheel check --out "$dist"
  wheel=$(ls "$dist"/dwh-"$python"-*"${1%%-*}".whl)
  work=$(mktemp -d)
  python3 -m zipfile -e "$wheel" "$work"
  portable "$work/dwh/_dwh.abi3.so"
  rm -r "$work"
  twine check --strict "$wheel"
}

# What this machine can run says who it is.
started() {
  local work
  work=$(mktemp -d)
  tar -xzf "$dist/dwh-$version-${targets[0]}.tar.gz" -C "$work" --strip-components=1
  "$work/dwh" --version | grep -Fx "dwh $version"
  python3 -m venv "$work/python"
  "$work/python/bin/pip" install -q --disable-pip-version-check --no-index "$dist"/dwh-"$python"-*x86_64.whl
  (cd "$work" && python/bin/python -c 'import dwh; print("dwh for Python", dwh.__version__)' | grep -Fx "dwh for Python $version")
  rm -r "$work"
}

everything() { # NAME
  local target
  notes "$1" > /dev/null
  rm -rf "$dist"
  mkdir -p "$dist"
  notes "$1" > "$dist/NOTES.md"
  for target in "${targets[@]}"; do
    command_for "$target"
    archive "$target"
    wheel "$target"
  done
  .venv/bin/maturin sdist --manifest-path dwh-py/Cargo.toml --out "$dist"
  twine check --strict "$dist/dwh-$python.tar.gz"
  started
  say "the crates"
  env -u RUSTFLAGS scripts/crates.sh "$dist"
  (cd "$dist" && sha256sum -- * > ../SHA256SUMS && mv ../SHA256SUMS .)
  say "in $dist:"
  (cd "$dist" && ls -l)
}

case "${1:-}:$#" in
  :0 | --draft:1 | wheel:2) python=$(python_version) ;;
esac
case "${1:-}:$#" in
  :0) notes "$version" > /dev/null && clean && everything "$version" ;;
  --draft:1) everything Unreleased ;;
  notes:[12]) notes "${2:-$version}" ;;
  # beside what is there of the version, whose sums are not true any more
  wheel:2) mkdir -p "$dist" && rm -f "$dist/SHA256SUMS" && wheel "$2" ;;
  *) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
esac
