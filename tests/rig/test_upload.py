"""Recordings go to a server once the drop-in lets the robot talk, with a key that only the daemon gets."""

from __future__ import annotations

import itertools
import shlex

import pytest

from tests.rig.harness import page
from tests.rig.harness.rig import MEMBER, STRANGER, UNIT, Rig

pytestmark = pytest.mark.virtual
PORT, FOLDER, AUTHORIZATION = 8080, "/var/tmp/server", "Bearer of-the-rig"
SENT = "/var/lib/reflexd/rig/recordings/sent"
REQUESTS = "journalctl -b -o cat _SYSTEMD_UNIT=rig-server.service"
"""Each is a line of the server's."""
CONFIG = f"""
[recording]
segment_minutes = 0.02

[upload]
url = "http://127.0.0.1:{PORT}/robots"
"""


def with_server(rig: Rig) -> None:
    """Which runs, and which the robot is told to send to."""
    server = ["python3", "-u", "/opt/rig/guest/server.py", str(PORT), FOLDER, AUTHORIZATION]
    rig.sh(f"mkdir {FOLDER} && systemd-run --quiet --unit rig-server {shlex.join(server)}")
    rig.sh(f"cat >> /etc/reflexd/rig.toml <<'END'\n{CONFIG}\nEND")
    rig.restart()


@pytest.mark.prepared(how=with_server)
def test_upload(rig: Rig) -> None:
    rig.run_policy()
    rig.request("disarm")
    failed = rig.wait(lambda: rig.event("upload.failed"), what="nothing is sent")
    assert not rig.sh(REQUESTS), "the robot may talk to nobody"

    drop_in, keys = page.blocks("A real robot")
    rig.sh(drop_in.replace("cpus.conf", "network.conf").replace("NAME", "rig"))
    rig.sh(f"cd /tmp && echo 'UPLOAD_AUTHORIZATION={AUTHORIZATION}' > upload.key && touch remote.key policy.key")
    rig.sh(f"cd /tmp && {keys.replace('NAME', 'rig')} && rm *.key")
    rig.restart()
    copies = (f"/run/credentials/{UNIT}.service/upload.key", "/etc/credstore/reflexd.rig.upload.key")
    for user, path in itertools.product((MEMBER, STRANGER), copies):
        rig.sh(f"test -s {path}")
        assert rig.run(f"cat {path}", user).code != 0, (user, path)
    rig.wait(lambda: sums(rig, SENT), what="segments are sent")
    assert sums(rig, SENT) <= sums(rig, FOLDER), "what is called sent is on the server"
    assert rig.sh(REQUESTS)
    rig.note(f"before: {failed['message']}")
    rig.policy_ready()


def sums(rig: Rig, folder: str) -> set[str]:
    """SHA-256 of each segment."""
    return set(
        rig.sh(f"find {folder} -name '*.mcap*' ! -name '*.json' -exec sha256sum {{}} + | cut -c-64").split()
    )
