"""Runs in the rig's machine: does what the host says over a virtio serial port, one JSON object per line.

`{"id": 1, "op": "run", "argv": [...], "user": NAME or null, "timeout": s, "stdin": BASE64}` answers with `rc`,
`out` and `err`; `ask` sends one line to a Unix socket and answers with the line that comes back; `put` writes a
file, `get` reads one. Requests are worked on at the same time; answers come when they are ready.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time

PORT = "/dev/virtio-ports/org.reflexd.rig"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMED_OUT = 124
# Limits are meant in the host's time. While this machine waits for its disk and has nothing else to do, its own
# runs tens of times as fast.
FASTER = 40
_writing = threading.Lock()


def run(request):
    argv = list(request["argv"])
    if request.get("user"):
        argv = ["runuser", "-u", request["user"], "--", *argv]
    stdin = base64.b64decode(request["stdin"]) if request.get("stdin") else None
    environment = {**os.environ, "HOME": "/root", "PATH": PATH}
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        cwd="/",
    )
    try:
        out, err = process.communicate(stdin, request.get("timeout", 60) * FASTER)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, err = process.communicate()
        code = TIMED_OUT
    return {"rc": code, "out": base64.b64encode(out).decode(), "err": base64.b64encode(err).decode()}


def ask(request):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(request.get("timeout", 60) * FASTER)
        client.connect(request["path"])
        client.sendall(request["line"].encode() + b"\n")
        with client.makefile("r") as answer:
            return {"line": answer.readline()}


def put(request):
    path = request["path"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(base64.b64decode(request["data"]))
    os.chmod(path, request.get("mode", 0o644))
    return {}


def get(request):
    with open(request["path"], "rb") as file:
        return {"data": base64.b64encode(file.read()).decode()}


OPS = {"run": run, "ask": ask, "put": put, "get": get, "ping": lambda request: {}}


def answer(port, request):
    try:
        reply = {"id": request["id"], **OPS[request["op"]](request)}
    except Exception as error:
        reply = {"id": request["id"], "error": f"{type(error).__name__}: {error}"}
    data = json.dumps(reply).encode() + b"\n"
    with _writing:
        while data:
            data = data[os.write(port, data) :]


def main():
    while not os.path.exists(PORT):
        time.sleep(0.05)
    port = os.open(PORT, os.O_RDWR)
    os.write(port, b'{"id": 0}\n')  # the machine is up
    waiting = b""
    while True:
        data = os.read(port, 65536)
        if not data:  # nobody at the other end
            time.sleep(0.02)
            continue
        waiting += data
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            try:
                request = json.loads(line)
            except ValueError:
                print(f"rig agent: not JSON: {line[:80]!r}", file=sys.stderr)
                continue
            threading.Thread(target=answer, args=(port, request), daemon=True).start()


main()
