#!/bin/sh
# Fetches CRuby for WebAssembly again and stores it beside this script, compressed. Needs npm, tar, gzip.
# The checksums pin the bytes; whoever changes the version changes them and runs the package's tests.
set -eu

package=@ruby/3.4-wasm-wasi
version=2.10.1
package_sha256=2e709bd9eddefe1c5d63e9fc0391a35cce4754e936d8a2f24b8582f6d5c2ea88
wasm_sha256=4b814fc9d13505ea5b4c1f3bd3a7cc7ccca137f551196b9b21f0a7caf9cc5878

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm pack --silent "$package@$version" >name
tarball=$(tail -n 1 name)
echo "$package_sha256  $tarball" | sha256sum -c -
tar -xzf "$tarball" --strip-components=2 "package/dist/ruby+stdlib.wasm" package/dist/LICENSE package/dist/NOTICE
echo "$wasm_sha256  ruby+stdlib.wasm" | sha256sum -c -

gzip -9n <ruby+stdlib.wasm >"$here/ruby.wasm.gz"
cp LICENSE NOTICE "$here/"
echo "stored $package $version in $here"
