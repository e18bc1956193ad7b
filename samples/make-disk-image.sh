#!/usr/bin/env bash
# Makes disk.img: an ext4 filesystem of 2 MiB with a few text files, a compressed one, and free space.
# Needs mke2fs (Debian and Ubuntu: e2fsprogs), no root. The image is committed beside this script, so that
# the other samples need Node only. The same mke2fs, run by root, gives the same bytes again.
#
# usage: samples/make-disk-image.sh [IMAGE]
set -euo pipefail
image=${1:-"$(dirname "$0")/disk.img"}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/etc" "$tree/home/ada" "$tree/var/log"

echo 'sensor-17' > "$tree/etc/hostname"
printf '%s\n' '/dev/vda / ext4 defaults,noatime 0 1' 'tmpfs /tmp tmpfs size=64M 0 0' > "$tree/etc/fstab"

# A log, seeded and so the same every time: eight kinds of line at a steady pace.
awk -v lines=6000 'BEGIN {
  split("sensor read|sensor read|sensor read|upload queued|upload done|link lost|link up|battery low", what, "|")
  seed = 17
  for (i = 0; i < lines; i++) {
    seed = (seed * 16807) % 2147483647
    minute = i * 7
    printf "2026-03-%02d %02d:%02d unit=%02d event=\"%s\" value=%d\n",
      1 + int(minute / 1440) % 28, int(minute / 60) % 24, minute % 60, seed % 12, what[1 + int(seed / 12) % 8],
      int(seed / 96) % 10000
  }
}' > "$tree/var/log/events.log"
head -n 2000 "$tree/var/log/events.log" | gzip -9 -n > "$tree/var/log/events.log.1.gz"
cp "$tree/var/log/events.log" "$tree/home/ada/events-copy.log"

cat > "$tree/home/ada/notes.txt" <<'TEXT'
The log and its copy hold the same bytes, so the copy costs next to nothing in a snapshot that is
built with --cdc. The compressed log does not shrink a second time and is stored as it is. What no
file uses is zeros, and zeros are stored as a length.
TEXT

find "$tree" -exec touch -h -d '2026-03-01T00:00:00Z' {} +
rm -f "$image"
export E2FSPROGS_FAKE_TIME=1772323200 SOURCE_DATE_EPOCH=1772323200
mke2fs -q -t ext4 -b 1024 -N 32 -m 0 -L sample -O '^has_journal,^resize_inode' \
  -U 00000000-0000-4000-8000-000000000017 -E 'hash_seed=00000000-0000-4000-8000-000000000017,root_owner=0:0' \
  -d "$tree" "$image" 2M > /dev/null
