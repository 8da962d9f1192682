#!/bin/bash
# Plugs the rig's hardware in: a CAN interface, and two GPIO chips: one for the e-stop, one for the outputs.
# /run/rig/lines/NAME leads to a line as the world outside sees it: its files `pull` and `value`.
set -euo pipefail
modprobe -a vcan can-raw gpio-sim
ip link add vcan0 type vcan
ip link set vcan0 up

mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
install -d /run/rig/lines
chip() {
    local folder="/sys/kernel/config/gpio-sim/$1" number=0 name
    shift
    mkdir "$folder" "$folder/bank0"
    echo 8 > "$folder/bank0/num_lines"
    for name in "$@"; do
        mkdir "$folder/bank0/line$number"
        echo "$name" > "$folder/bank0/line$number/name"
        number=$((number + 1))
    done
    echo 1 > "$folder/live"
    number=0
    for name in "$@"; do
        ln -sfn "/sys/devices/platform/$(cat "$folder/dev_name")/$(cat "$folder/bank0/chip_name")/sim_gpio$number" \
            "/run/rig/lines/$name"
        number=$((number + 1))
    done
}
chip inputs estop
chip outputs drive_enable heartbeat
echo pull-up > /run/rig/lines/estop/pull   # its contact is closed
udevadm settle
