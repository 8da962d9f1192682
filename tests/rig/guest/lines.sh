#!/bin/bash
# Names that stay when a chip comes back under another number: /dev/rig-inputs and the like for the daemon, and
# /run/rig/lines/NAME, a line as the world outside sees it: its files `pull` and `value`.
shopt -s nullglob
install -d /run/rig/lines
link() {
    local line
    for line in /sys/devices/platform/"$3"/gpiochip*/sim_gpio"$4"; do
        ln -sfn "$line" "/run/rig/lines/$1"
        ln -sfn "/dev/$(basename "$(dirname "$line")")" "/dev/$2"
    done
}
link estop rig-inputs gpio-sim.0 0
link estop_second rig-inputs gpio-sim.0 1
link reset rig-inputs gpio-sim.0 2
link drive_enable rig-outputs gpio-sim.1 0
link heartbeat rig-outputs gpio-sim.1 1
link drive_feedback rig-contactor gpio-sim.2 0
