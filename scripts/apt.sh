# Packages by apt-get, as root or with sudo; read by setup.sh.
# A fresh machine updates itself in the background and holds apt's locks for minutes: that is waited for.

# seconds
apt_patience=600
apt_pause=3

fail() { echo "setup: $1" >&2; exit 1; }
say() { echo "setup: $1" >&2; }

apt() { # PACKAGE...
  command -v apt-get > /dev/null || fail "install by hand, this machine has no apt-get: $*"
  say "installing $*"
  apt_update
  apt_get -y -o Dpkg::Options::=--force-confold install --no-install-recommends "$@" > /dev/null
}

# Puts the files of packages into the current folder, and installs nothing.
apt_download() { # PACKAGE...
  command -v apt-get > /dev/null || fail "this machine has no apt-get to download with: $*"
  if ! apt-get -qq -o Acquire::Retries=5 download "$@" 2> /dev/null; then
    # a fresh machine has no lists yet
    apt_update
    apt-get -qq -o Acquire::Retries=5 download "$@" 2> /dev/null || fail "apt-get cannot download: $*"
  fi
}

apt_update() {
  if [ -n "${apt_updated:-}" ]; then return; fi
  apt_get update
  apt_updated=1
}

apt_get() { # ARGUMENT...
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    sudo=(sudo -n)
    "${sudo[@]}" true 2> /dev/null || fail "run it as root, or as root call: apt-get $*"
  fi
  # the words of its messages are looked at below
  when_free "${sudo[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=5 \
    -o "DPkg::Lock::Timeout=$apt_patience" "$@"
}

# Runs a command again as long as it fails because another process holds a lock of apt: DPkg::Lock::Timeout is for one of
# them, and neither for that of the lists nor for that of the downloads.
when_free() { # COMMAND...
  local words told='' until=$((SECONDS + apt_patience)) failed='Could not get lock|Unable to lock|Unable to acquire'
  words=$(mktemp)
  until "$@" 2> "$words"; do
    if ! grep -qE "$failed" "$words" || [ "$SECONDS" -ge "$until" ]; then
      cat "$words" >&2
      rm "$words"
      fail "apt-get failed, see above"
    fi
    if [ -z "$told" ]; then say "another process is installing packages: waiting for it, up to $apt_patience s"; fi
    told=1
    sleep "$apt_pause"
  done
  rm "$words"
}
