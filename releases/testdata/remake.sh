#!/bin/sh
# Makes the golden files of testdata/v1 and testdata/worked anew, with the spiff
# command v1.7.0-beta-7 (the module in remake/ has it as a tool). Tests only compare.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go -C remake build -o "$scratch/spiff" github.com/mandelsoft/spiff
go -C remake build -o "$scratch/remake" .
TMPDIR=$scratch "$scratch/remake" "$scratch/spiff" v1 worked
