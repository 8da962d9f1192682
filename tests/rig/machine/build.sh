#!/bin/bash
# build.sh DIR: makes the rig's machine, Debian 12 with a PREEMPT_RT kernel: DIR/{vmlinux,initrd.cpio,root.ext4}.
#
# As root, about a minute. The kernel's modules are picked: what a robot's computer has and a build machine has not
# (CAN, USB serial adapters, a GPIO chip that a test can press, a watchdog that resets), and what the scenarios need
# (dm-delay, a camera).
set -euo pipefail
here="$(dirname "$(realpath "$0")")"
final="$(realpath -m "$1")"
work="$final.part"
rm -rf "$work"
mkdir -p "$work"
cd "$work"

packages=systemd,systemd-sysv,udev,kmod,dbus,passwd,iproute2,can-utils,gpiod,python3,python3-venv,make,procps,dmsetup,e2fsprogs
modules="virtio_pci virtio_blk ext4 crc32c_generic virtio_console virtio-rng autofs4 configfs loop vcan can-raw kvaser_pci
    xhci_pci ftdi_sio i6300esb dm-mod dm-delay vivid"
boot_modules="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk crc32c_generic crc16
    mbcache jbd2 ext4"

# Kernel, headers and source of one version: the one behind the meta package.
version="$(apt-cache depends linux-image-rt-amd64 | sed -n 's/.*Depends: linux-image-//p' | head -1)"
[ -n "$version" ] || { echo "apt knows no linux-image-rt-amd64; on Debian 12, apt-get update" >&2; exit 1; }
common="${version%-rt-amd64}-common-rt"
mkdir debs
(cd debs && apt-get -q -o APT::Sandbox::User=root download "linux-image-$version" "linux-headers-$version" \
    "linux-headers-$common" linux-kbuild-6.1 linux-source-6.1 busybox-static >/dev/null)

# The file system, from the same sources as this machine's.
sources="$(ls /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1 || true)"
mmdebstrap -q --variant=minbase --format=tar --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm root.tar ${sources:+"$sources"}
mkdir root
tar -C root -xf root.tar

# gpio-sim is in no Debian 12 kernel: it is built out of tree, with irq_sim, which uses a symbol that is not exported.
mkdir headers sim
for deb in debs/linux-headers-*.deb debs/linux-kbuild-*.deb; do dpkg -x "$deb" headers; done
sed -i "s#/usr/src/#$work/headers/usr/src/#" "headers/usr/src/linux-headers-$version/Makefile"
source=linux-source-6.1
dpkg-deb --fsys-tarfile debs/linux-source-6.1_*.deb | tar -xO "./usr/src/$source.tar.xz" | tar -xJ -C sim \
    "$source/drivers/gpio/gpio-sim.c" "$source/drivers/gpio/gpiolib.h" "$source/kernel/irq/irq_sim.c"
mv "sim/$source/drivers/gpio/gpio-sim.c" sim/gpio_sim_main.c
mv "sim/$source/drivers/gpio/gpiolib.h" "sim/$source/kernel/irq/irq_sim.c" sim/
sed -i 's/handle_simple_irq(irq_to_desc(irqnum));/generic_handle_irq_safe(irqnum);/' sim/irq_sim.c
printf 'obj-m := gpio-sim.o\ngpio-sim-y := gpio_sim_main.o irq_sim.o\n' > sim/Makefile
make -s -C "headers/usr/src/linux-headers-$version" "M=$work/sim" modules 2>&1 | { grep -v BTF || true; }
strip -g sim/gpio-sim.ko

# The kernel, unpacked here rather than slowly in the machine: an ELF file with a PVH entry.
mkdir -p root/tmp/k
dpkg-deb --fsys-tarfile "debs/linux-image-${version}_"*.deb | tar -x -C root/tmp/k
python3 - "root/tmp/k/boot/vmlinuz-$version" vmlinux <<'P'
import lzma, struct, sys
image = open(sys.argv[1], "rb").read()
start = (image[0x1F1] + 1) * 512
offset, length = struct.unpack_from("<II", image, 0x248)
open(sys.argv[2], "wb").write(lzma.LZMADecompressor().decompress(image[start + offset : start + offset + length]))
P
chroot root depmod -b /tmp/k "$version"
target="root/lib/modules/$version"
mkdir -p "$target/extra"
for module in $modules; do
    chroot root modprobe -d /tmp/k -S "$version" --show-depends "$module"
done | awk '/^insmod/ && !seen[$2]++ {print $2}' | while read -r file; do
    install -D -m 0644 "root$file" "$target/${file#*/"$version"/}"
done
cp "root/tmp/k/lib/modules/$version/"modules.{order,builtin,builtin.modinfo} "$target/"
cp sim/gpio-sim.ko "$target/extra/"
rm -rf root/tmp/k
chroot root depmod "$version"

# An initramfs that does one thing: mount the disk.
mkdir -p initrd/{bin,dev,newroot,m} busybox
dpkg -x debs/busybox-static_*.deb busybox
cp busybox/bin/busybox initrd/bin/
for module in $boot_modules; do cp "$(find "$target" -name "$module.ko")" initrd/m/; done
cat > initrd/init <<I
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for m in $(echo $boot_modules); do /bin/busybox insmod /m/\$m.ko; done
n=0; until [ -b /dev/vda ]; do /bin/busybox usleep 50000; n=\$((n+1)); [ \$n -gt 200 ] && break; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /newroot || /bin/busybox poweroff -f
/bin/busybox mount --move /dev /newroot/dev
exec /bin/busybox switch_root /newroot /sbin/init
I
chmod +x initrd/init
(cd initrd && find . | ../busybox/bin/busybox cpio -o -H newc 2>/dev/null) > initrd.cpio

# The machine's own settings, and the program through which the host gives it orders.
cp -rT "$here/root" root
echo robot > root/etc/hostname
: > root/etc/fstab
ln -sf /dev/null root/etc/systemd/system/systemd-binfmt.service
ln -sf /dev/null root/etc/systemd/system/proc-sys-fs-binfmt_misc.automount
rm -f root/etc/systemd/system/{timers.target.wants,getty.target.wants}/*
# Anyone who looks at the journal after a power cut wants all of it.
mkdir -p root/var/log/journal
mke2fs -q -t ext4 -E root_owner=0:0 -d root root.ext4 3G
rm -rf root root.tar initrd busybox headers sim debs
mkdir -p "$(dirname "$final")"
rm -rf "$final"
mv "$work" "$final"
