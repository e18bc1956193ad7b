#!/usr/bin/env bash
# Makes a very small Linux to boot: FOLDER/kernel, FOLDER/initrd, and FOLDER/root.img, an ext4 disk of 8 MiB.
# Its init counts a file's lines, writes another one, says so on the console, and switches the machine off.
#
# The kernel is Debian's for virtual machines, downloaded with apt-get unless FOLDER has it from before. Needs
# busybox (Debian: busybox-static), mke2fs, apt-get and dpkg; no root.
#
# usage: samples/make-linux.sh FOLDER
set -euo pipefail
folder=$(realpath "$1")
busybox=$(command -v busybox)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! ls "$folder"/linux-image-*.deb > /dev/null 2>&1; then
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
  (cd "$folder" && apt-get -q download "$package")
fi
dpkg -x "$(ls "$folder"/linux-image-*.deb | tail -n 1)" "$work/kernel"
cp "$work"/kernel/boot/vmlinuz-* "$folder/kernel"

# The first root: finds the disk, and goes there.
mkdir -p "$work/initrd/bin" "$work/initrd/modules" "$work"/initrd/{dev,proc,root}
cp "$busybox" "$work/initrd/bin/busybox"
modules='virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk'
for module in $modules; do
  found=$(find "$work/kernel" -name "$module.ko*")
  cp "$found" "$work/initrd/modules/"
  case $found in *.xz) xz -d "$work/initrd/modules/$module.ko.xz" ;; esac
done
cat > "$work/initrd/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
# Which needs which differs from kernel to kernel: those that come too early get in at the next try.
for try in 1 2 3; do
  for module in $modules; do /bin/busybox insmod /modules/\$module.ko 2> /dev/null; done
done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
INIT
chmod +x "$work/initrd/init"
(cd "$work/initrd" && find . | "$busybox" cpio -o -H newc 2> /dev/null | gzip -1) > "$folder/initrd"

# The disk itself.
mkdir -p "$work"/root/{bin,sbin,dev,proc,var/log}
cp "$busybox" "$work/root/bin/busybox"
seq 1 5000 | sed 's/^/sensor 17, reading /' > "$work/root/var/log/readings"
cat > "$work/root/sbin/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
lines=$(busybox wc -l < /var/log/readings)
echo 'written by the guest' > /var/log/boot
busybox sync
echo 3 > /proc/sys/vm/drop_caches
echo "guest: $lines readings on $(busybox sed -n 's/^\(\/dev\/[a-z]*\) \/ .*/\1/p' /proc/mounts), $(busybox cat /var/log/boot)"
busybox poweroff -f
INIT
chmod +x "$work/root/sbin/init"
rm -f "$folder/root.img"
mke2fs -q -t ext4 -E root_owner=0:0 -d "$work/root" "$folder/root.img" 8M
