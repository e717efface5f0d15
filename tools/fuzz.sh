#!/bin/sh
# Runs every fuzz test for FUZZTIME (30s unless told otherwise).
set -eu
for pkg in $(go list ./...); do
  for f in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
    go test -run '^$' -fuzz "^$f\$" -fuzztime "${FUZZTIME:-30s}" "$pkg"
  done
done
