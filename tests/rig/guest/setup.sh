#!/bin/bash
# Sets the rig's robot up on a machine where reflexd is installed, as the administrator of a robot does.
set -euo pipefail
install -m 0644 /opt/rig/robot/* /opt/reflexd/current/share/reflexd/configs/hinges/swing.py /etc/reflexd/
install -m 0644 /opt/rig/guest/rig-*.service /etc/systemd/system/
useradd --create-home member
usermod --append --groups reflexd member
useradd --create-home stranger
# Its motors answer whatever else this slow machine does, as real ones would.
install -d /etc/systemd/system/reflexd-emulator@rig.service.d
printf '[Service]\nLimitRTPRIO=99\n' > /etc/systemd/system/reflexd-emulator@rig.service.d/priority.conf
systemctl daemon-reload
systemctl enable --now rig-hardware rig-board rig-hand
systemctl enable --now reflexd-emulator@rig
systemctl enable --now reflexd@rig
