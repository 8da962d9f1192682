#!/bin/bash
# Plugs the rig's hardware in: a CAN interface, and two GPIO chips: one for the e-stop, one for the outputs.
set -euo pipefail
modprobe -a vcan can-raw gpio-sim
ip link add vcan0 type vcan
ip link set vcan0 up

mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
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
}
chip inputs estop                   # becomes gpio-sim.0
chip outputs drive_enable heartbeat # becomes gpio-sim.1
udevadm settle
bash /opt/rig/guest/lines.sh
echo pull-up > /run/rig/lines/estop/pull # its contact is closed
