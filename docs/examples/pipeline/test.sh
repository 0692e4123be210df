#!/bin/sh
# Tests dist/primes with the INTERFACE of the environment, and keeps its answer in the etcd at localhost:2379.
set -eu
case "$INTERFACE" in
  1) expected=541 ;;
  2) expected='{"n": 100, "prime": 541}' ;;
esac

answer="$(dist/primes 100)"
[ "$answer" = "$expected" ] || { echo "expected $expected, got $answer" >&2; exit 1; }
echo "interface $INTERFACE: the 100th prime is right"

ask() { wget -q -O - --post-data "$2" "http://localhost:2379/v3/kv/$1"; } # etcd's JSON has keys and values in base64
key="$(printf 'primes/%s' "$INTERFACE" | base64)"
value="$(printf '%s' "$answer" | base64)"
ask put "{\"key\": \"$key\", \"value\": \"$value\"}" > /dev/null
case "$(ask range "{\"key\": \"$key\"}")" in
  *"\"value\":\"$value\""*) echo "interface $INTERFACE: etcd gave the answer back" ;;
  *) echo "etcd has lost the answer" >&2; exit 1 ;;
esac
