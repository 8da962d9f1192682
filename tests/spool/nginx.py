"""A real nginx on loopback that takes PUT, in the way of WebDAV, from whoever knows the password."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
USER, PASSWORD = "robot", "a-password-of-nginx"
AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_CONFIG = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
    uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
    client_max_body_size 64m;
    server {{
        listen {host}:{port};
        root {folder}/objects;
        location / {{
            {more}
            dav_methods PUT;
            create_full_put_path on;
            auth_basic "recordings";
            auth_basic_user_file {folder}/passwords;
        }}
    }}
}}
"""
_READY_S = 30.0


class Nginx:
    """Runs until it is closed; its files are in `folder/objects`."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", inside: Sequence[str] = ()) -> None:
        """`inside`: what its command line begins with, to run in the network namespace that has `host`."""
        self._host, self._inside = host, inside
        self.objects = folder / "objects"
        self.objects.mkdir(parents=True)
        (folder / "passwords").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://{host}:{self._port}"
        self._folder = folder
        self.start()

    def start(self, more: str = "") -> None:
        """Start it, again after `close`. `more`: lines of its configuration."""
        assert NGINX is not None
        user = "user root;" if os.geteuid() == 0 else ""
        config = self._folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(user=user, folder=self._folder, host=self._host, port=self._port, more=more)
        )
        self._process = subprocess.Popen(
            [*self._inside, NGINX, "-p", self._folder, "-c", config, "-e", self._folder / "error.log"]
        )
        deadline = time.monotonic() + _READY_S
        while True:
            with suppress(OSError), socket.create_connection((self._host, self._port)):
                return
            assert self._process.poll() is None, (self._folder / "error.log").read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.01)

    def refuse(self, status: int) -> None:
        """Start it anew so that it answers every PUT with this; 0: with none."""
        self.close()
        self.start(f"if ($request_method = PUT) {{ return {status}; }}" if status else "")

    def close(self) -> None:
        """Stop it at once: connections break."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def puts(self) -> list[str]:
        """The paths that were put, and the answers."""
        lines = (self._folder / "access.log").read_text().splitlines()
        return [f"{words[6]} {words[8]}" for line in lines if '"PUT ' in line and (words := line.split())]
