"""How a peer's own class is used from here: it lives in its own interpreter, and is called over its pipes.

This end runs in the peer's interpreter, whatever that is: standard library only. A line is one JSON value.
"""

import atexit
import json
import os
import sys
import tempfile

# What the packages print must not come between the lines.
_ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
# LeRobot makes a folder for its logs where it runs.
_FOLDER = tempfile.TemporaryDirectory(prefix="reflexd-peer-")
atexit.register(_FOLDER.cleanup)
os.chdir(_FOLDER.name)


def tell(value):
    """Say something to the other end."""
    _ANSWERS.write(json.dumps(value) + "\n")
    _ANSWERS.flush()


def hear():
    """What the other end says next; ends the process when it is gone."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def serve(peer):
    """Call the methods of `peer` as they are asked for: `[method, [arguments]]`."""
    tell("ready")
    while True:
        method, arguments = hear()
        tell({"answer": getattr(peer, method)(*arguments)})
