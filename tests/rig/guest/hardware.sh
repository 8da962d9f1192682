#!/bin/bash
# Plugs the rig's hardware in: a CAN interface, and GPIO chips for buttons, outputs, and the
# contactor's mirror contact.
set -euo pipefail
# One processor stands for several: half of it is kept for what does not run in real time, systemd above all.
echo 500000 > /proc/sys/kernel/sched_rt_runtime_us
modprobe -a vcan can-raw gpio-sim
ip link add vcan0 type vcan
ip link set vcan0 up

mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
. /opt/rig/guest/chip.sh
chip inputs estop estop_second reset # becomes gpio-sim.0
chip outputs drive_enable heartbeat  # becomes gpio-sim.1
chip contactor drive_feedback        # becomes gpio-sim.2
udevadm settle
bash /opt/rig/guest/lines.sh
for line in estop estop_second; do # its contacts are closed
    echo pull-up > "/run/rig/lines/$line/pull"
done
