#!/usr/bin/env bash
# Backs up a disk of another machine over ssh, both ways round:
#   here.st   the disk comes over the wire as it is, and is built here: the far side needs dd only
#   there.st  it is built on the far side, and only the snapshot comes over the wire
# The bytes of the two are the same. A link that is lost in the middle makes the first fail, because fewer
# bytes came than expected, and leaves the second without its end, which verify finds.
#
# usage: samples/remote.sh HOST DISK [FOLDER]
# DISK must stand still meanwhile: unmounted, or a snapshot of the volume manager.
set -euo pipefail
host=$1
folder=${3:-.}
disk=$(printf %q "$2")

size=$(ssh "$host" "blockdev --getsize64 $disk 2> /dev/null || stat -c %s $disk")

ssh "$host" "dd if=$disk bs=4M status=none" | hexz build - --expect-size "$size" -o "$folder/here.st"

ssh "$host" "hexz build $disk -" > "$folder/there.st"
hexz verify "$folder/there.st"

cmp "$folder/here.st" "$folder/there.st"
echo "here.st and there.st are the same $size bytes of $host:$2"
