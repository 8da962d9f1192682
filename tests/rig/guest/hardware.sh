#!/bin/bash
# Plugs the rig's hardware in: a CAN interface, a GPIO chip, both as seen from outside.
# /run/rig/lines leads to the chip's lines as the world outside sees them: `sim_gpioN/pull` and `sim_gpioN/value`.
set -euo pipefail
modprobe -a vcan can-raw gpio-sim
ip link add vcan0 type vcan
ip link set vcan0 up

mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
chip=/sys/kernel/config/gpio-sim/rig
mkdir "$chip" "$chip/bank0"
echo 8 > "$chip/bank0/num_lines"
number=0
for name in estop drive_enable heartbeat; do
    mkdir "$chip/bank0/line$number"
    echo "$name" > "$chip/bank0/line$number/name"
    number=$((number + 1))
done
echo 1 > "$chip/live"
lines="/sys/devices/platform/$(cat "$chip/dev_name")/$(cat "$chip/bank0/chip_name")"
install -d /run/rig
ln -sfn "$lines" /run/rig/lines
ln -sfn "$lines/sim_gpio1/value" /run/rig/drive_enable
echo pull-up > "$lines/sim_gpio0/pull"   # the e-stop's contact is closed
udevadm settle
