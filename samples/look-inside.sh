#!/usr/bin/env bash
# Prints a file that lies in an ext4 filesystem in a snapshot. The snapshot is shown as a file, so that any
# program can look at it: here debugfs, which needs no root. As root, the whole filesystem can be mounted:
#   mount -o loop,ro FOLDER/disk /mnt
#
# usage: samples/look-inside.sh SNAPSHOT PATH
# Needs nbdfuse and debugfs (Debian: libnbd-bin, fuse3, e2fsprogs), and hexz on the PATH.
set -euo pipefail
snapshot=$1
path=$2
folder=$(mktemp -d)
mount=
trap '[ -z "$mount" ] || { kill "$mount" && wait "$mount" || true; } 2> /dev/null; rm -rf "$folder"' EXIT

mkdir "$folder/mnt"
mkfifo "$folder/ready"
hexz mount "$snapshot" "$folder/mnt" > "$folder/ready" &
mount=$!
read -r disk < "$folder/ready"

debugfs -R "cat \"$path\"" "$disk" 2> /dev/null
