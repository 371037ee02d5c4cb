# Packages by apt-get, as root or with sudo; read by setup.sh.
# A fresh machine updates itself in the background and holds apt's locks for minutes: that is waited for.

# seconds
apt_patience=600
apt_pause=3

fail() { echo "setup: $1" >&2; exit 1; }
say() { echo "setup: $1" >&2; }

apt() { # PACKAGE...
  command -v apt-get > /dev/null || fail "install by hand, this machine has no apt-get: $*"
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    sudo=(sudo -n)
    "${sudo[@]}" true 2> /dev/null || fail "run it as root, or as root call: apt-get install $*"
  fi
  # the words of its messages are looked at below
  local get=("${sudo[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=5
    -o "DPkg::Lock::Timeout=$apt_patience")
  say "installing $*"
  if [ -z "${apt_updated:-}" ]; then
    when_free "${get[@]}" update
    apt_updated=1
  fi
  when_free "${get[@]}" -y -o Dpkg::Options::=--force-confold install --no-install-recommends "$@" > /dev/null
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
