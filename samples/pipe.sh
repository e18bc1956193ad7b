#!/usr/bin/env bash
# From a pipe to a pipe and back: nothing here needs a file that can be sought in.
#
# usage: samples/pipe.sh [SOURCE [SNAPSHOT]]
# Needs hexz on the PATH: in a clone, `npm link` puts it there.
set -euo pipefail
source=${1:-"$(dirname "$0")/disk.img"}
snapshot=${2:-out.st}

dd if="$source" bs=4M status=none | hexz build - > "$snapshot"
hexz extract "$snapshot" | cmp - "$source"
echo "$snapshot holds every byte of $source"
