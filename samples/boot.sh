#!/usr/bin/env bash
# Boots a virtual machine from a snapshot, without unpacking it. What the machine writes goes to a temporary
# overlay of qemu's; the snapshot stays as it is.
#
# usage: samples/boot.sh SNAPSHOT [QEMU-OPTION…]
#   samples/boot.sh vm.st -m 2G                                a disk with its own boot loader
#   samples/boot.sh root.st -kernel … -initrd … -append …      a root filesystem
# Needs qemu-system-x86_64 and hexz on the PATH.
set -euo pipefail
snapshot=$1
shift
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2> /dev/null || true; rm -rf "$folder"' EXIT

mkfifo "$folder/ready"
hexz serve "$snapshot" --nbd "unix:$folder/disk" > "$folder/ready" &
server=$!
read -r uri < "$folder/ready" # comes when the disk can be used, or never, when hexz fails

qemu-system-x86_64 -drive "file=$uri,format=raw,if=virtio,snapshot=on" "$@"
