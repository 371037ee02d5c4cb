#!/usr/bin/env bash
# A throwaway S3 server (SeaweedFS) on 127.0.0.1, for the demo and the benchmarks.
#   s3.sh up DIR BUCKET    starts it with its data in DIR and an empty bucket, prints its address;
#                          the keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment
#   s3.sh down DIR         stops it
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
weed=${DWH_TEST_WEED:-$root/.venv/bin/weed}

up() {
  local dir=$1 bucket=$2 s3 master filer volume tick
  mkdir -p "$dir/data" "$dir/log"
  read -r s3 master filer volume <<< "$(python3 "$root/scripts/free_ports.py" 4)"
  GOMEMLIMIT=600MiB "$weed" -logdir="$dir/log" mini -dir="$dir/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -bucket="$bucket" \
    -s3.port="$s3" -s3.port.iceberg=0 -s3.port.lance=0 -webdav=false -admin.ui=false \
    -master.port="$master" -filer.port="$filer" -volume.port="$volume" > "$dir/log/weed.out" 2>&1 < /dev/null &
  echo $! > "$dir/pid"
  for ((tick = 0; tick < 300; tick++)); do
    # ready once S3 answers (403 without a signature, also before the bucket is there) and the filer has the bucket's folder
    if python3 - "http://127.0.0.1:$s3/$bucket" "http://127.0.0.1:$filer/buckets/$bucket/" <<'PY'
import sys, urllib.error, urllib.request
def code(address):
    try:
        return urllib.request.urlopen(address, timeout=2).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
sys.exit(0 if code(sys.argv[1]) == 403 and code(sys.argv[2]) == 200 else 1)
PY
    then echo "http://127.0.0.1:$s3"; return 0; fi
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.1
  done
  tail -5 "$dir/log/weed.out" >&2
  echo "SeaweedFS does not start in $dir" >&2
  exit 1
}

down() {
  local pid tick
  pid=$(cat "$1/pid" 2>/dev/null) || return 0
  rm -f "$1/pid"
  kill "$pid" 2>/dev/null || return 0
  for ((tick = 0; tick < 150; tick++)); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
}

case "${1:-}:$#" in
  up:3) up "$2" "$3" ;;
  down:2) down "$2" ;;
  *) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac
