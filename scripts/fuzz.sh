#!/usr/bin/env bash
# Runs every fuzz target of the given packages, one after the other:
#   scripts/fuzz.sh 30s ./...
# go test fuzzes only one target of one package at a time, hence the loop. A
# crasher stays in that package's testdata/fuzz; commit it with the fix. Inputs are
# shrunk for 100 tries at most: by default each new one that takes another path
# by chance, as with goroutines, stops the search for up to a minute.
set -uo pipefail

GO=${GO:-go}
time=$1
shift

dirs=$($GO list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' "$@") || exit 1
n=0 failed=()
while read -r pkg dir; do
  [ -n "$pkg" ] || continue
  names=$(grep -hoE '^func Fuzz[A-Za-z0-9_]*\(' "$dir"/*_test.go | sed 's/^func //; s/($//')
  for name in $names; do
    n=$((n + 1))
    echo "--- $name ($pkg)"
    $GO test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 100x -parallel "${PARALLEL:-1}" "$pkg" </dev/null || failed+=("$name ($pkg)")
  done
done <<<"$dirs"

echo "fuzz: $n targets, $time each, ${#failed[@]} failed"
[ ${#failed[@]} = 0 ] || { printf '  %s\n' "${failed[@]}"; exit 1; }
