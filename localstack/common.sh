# shellcheck shell=bash
# What up and down share; sourced by both.
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venvs=$(dirname -- "$here")/.venv
# Of this checkout alone: others may have the same .venv.
data=$venvs/localstack-data-$(printf '%s' "$here" | cksum | cut -d ' ' -f 1)

say() { printf 'localstack: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# One up or down at a time. The lock lies outside the data, which down removes.
lock() {
  command -v flock >/dev/null || die "flock is missing (package util-linux)"
  mkdir -p "$venvs"
  exec 9>"$venvs/localstack-data.lock"
  flock -n 9 || { say "waiting for another up or down"; flock 9; }
}

# Sets pid and succeeds if the process in the pid file runs and is the server up started from
# this checkout, not another one that got the same number since. (A zombie has no arguments.)
ours() {
  pid=$(cat "$data/pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
  [[ " $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" == *" $here/serve.py "* ]] 2>/dev/null
}

# Ends the server's process group, in a hurry if it has not ended after 20 s.
stop() {
  local i
  ours || return 0
  kill -TERM -- "-$pid" 2>/dev/null || true
  for ((i = 0; i < 100; i++)); do ours || break; sleep 0.2; done
  kill -KILL -- "-$pid" 2>/dev/null || true
  for ((i = 0; i < 50; i++)); do ours || return 0; sleep 0.1; done
  die "process $pid does not end"
}
