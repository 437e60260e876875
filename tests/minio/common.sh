# shellcheck shell=bash
# What up and down share; sourced by both.
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venvs=$(dirname -- "$(dirname -- "$here")")/.venv
# Of this checkout alone: others may have the same .venv.
data=$venvs/minio-data-$(printf '%s' "$here" | cksum | cut -d ' ' -f 1)

say() { printf 'minio: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# One up or down at a time. The lock lies outside the data, which down removes.
lock() {
  command -v flock >/dev/null || die "flock is missing (package util-linux)"
  mkdir -p "$venvs"
  exec 9>"$venvs/minio-data.lock"
  flock -n 9 || { say "waiting for another up or down"; flock 9; }
}

# Makes sure that the program is there.
binary=${CC_ARCHIVER_MINIO:-$venvs/tools/bin/minio}
build() {
  local version=v0.0.0-20260212201848-7aac2a2c5b7c
  [[ ! -x $binary ]] || return 0
  [[ -z ${CC_ARCHIVER_MINIO:-} ]] || die "CC_ARCHIVER_MINIO is no program: $binary"
  command -v go >/dev/null || die "go is missing to build MinIO; or set CC_ARCHIVER_MINIO to a minio that is there"
  say "building $version, which takes some minutes the first time"
  GOBIN=$venvs/tools/bin GOFLAGS='' go install -ldflags "-s -w" "github.com/minio/minio@$version" >&2 9>&- || die "it cannot be built"
}

# Sets pid and succeeds if the process in the pid file runs and serves our data.
ours() {
  pid=$(cat "$data/pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
  [[ "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" == *" server "*" $data/objects "* ]] 2>/dev/null
}

stop() {
  local i
  ours || return 0
  kill -TERM -- "-$pid" 2>/dev/null || true
  for ((i = 0; i < 100; i++)); do ours || return 0; sleep 0.1; done
  kill -KILL -- "-$pid" 2>/dev/null || true
  for ((i = 0; i < 50; i++)); do ours || return 0; sleep 0.1; done
  die "process $pid does not end"
}
