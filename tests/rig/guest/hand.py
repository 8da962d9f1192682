"""An operator who is always there: passes requests on to the daemon's control socket, as the user that it runs as.

A Unix socket: one JSON line `[OP, {...}]`, one back, `{"result": ...}` or `{"code": ..., "reasons": [...]}`.
Runs in the daemon's own Python. `reflexctl` does the same, but each call starts a Python of its own.
"""

import json
import os
import socket
import threading
from pathlib import Path

from runtime.link.client import Client
from runtime.link.errors import LinkError, Refused

SOCKET = Path("/run/rig-hand/hand.sock")
DAEMON = Path("/run/reflexd/rig/reflexd.sock")


def answer(connection: socket.socket) -> None:
    with connection, connection.makefile("rw") as stream:
        op, arguments = json.loads(stream.readline())
        try:
            with Client(DAEMON, 20.0) as client:
                reply = {"result": client.request(op, **arguments)}
        except Refused as error:
            reply = {"code": error.code, "message": str(error), "reasons": error.reasons}
        except LinkError as error:
            reply = {"code": "link", "message": str(error), "reasons": []}
        stream.write(json.dumps(reply) + "\n")


listener = socket.socket(socket.AF_UNIX)
if SOCKET.exists():
    os.unlink(SOCKET)
listener.bind(str(SOCKET))
listener.listen(8)
while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
