"""An S3-compatible server on loopback, and a link to it that can be cut, and that can lie."""

from __future__ import annotations

import calendar
import json
import logging
import re
import socket
import socketserver
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.server import ThreadedMotoServer

from runtime.spool.layout import Class

BUCKET = "recordings"
KEY_ID, SECRET = "AKIDFORTESTS", "a-secret-that-nobody-may-see"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


def upload(server: str, **more: Any) -> dict[str, Any]:
    """The section `[upload]` for the server of `s3`, as the spool's process gets it."""
    return {
        "url": f"s3://{BUCKET}/all",
        "endpoint": server,
        "region": "us-east-1",
        "fleet": "f",
        "rate": None,
        "quiet_hours": [],
        "metered": [],
        "confirm": "checksum",
        "when": dict.fromkeys(map(str, Class), "always"),
        **more,
    }


class Link:
    """A TCP proxy. `answer`: an HTTP status that it gives in place of the server to every PUT whose path has
    `answer_for` in it. `held`: a PUT whose path ends so does not get any further. `cut_after`: bytes of a request
    that pass before it breaks. `rate_bps`: bytes per second of a request. `lie`: all ETags are wrong.
    `skew_max_s`: like S3 it refuses what is signed for another time."""

    def __init__(self, port: int, listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.answer = 0
        self.answer_for = ""
        self.held = ""
        self.cut_after: int | None = None
        self.rate_bps: float | None = None
        self.lie = False
        self.skew_max_s: float | None = None
        self.puts: list[str] = []
        """Paths of all PUT and POST requests."""
        self._clients: set[socket.socket] = set()
        link = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                link._clients.add(self.request)
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
                    link._serve(self.request, server)
                link._clients.remove(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(listen, Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """End it: whoever is connected is cut off."""
        self._server.shutdown()
        self._server.server_close()
        for client in list(self._clients):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        answers = threading.Thread(target=self._back, args=(server, client), daemon=True)
        answers.start()
        passed = 0
        while data := client.recv(65536):
            if found := re.match(rb"(PUT|POST|GET|HEAD) (\S+) HTTP", data):
                passed = 0
                path = found[2].decode()
                if status := self._refusal(found[1].decode(), path, data):
                    client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
                    break
                if found[1] == b"PUT" and self.held and path.endswith(self.held):
                    while client.recv(65536):  # until the other end has given up
                        pass
                    break
            passed += len(data)
            if self.cut_after is not None and passed > self.cut_after:
                break
            if self.rate_bps is not None:
                time.sleep(len(data) / self.rate_bps)
            server.sendall(data)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        answers.join()

    def _refusal(self, method: str, path: str, data: bytes) -> int:
        """The status that this request gets in place of the server's answer; 0 for none."""
        signed = re.search(rb"(?i)x-amz-date: (\d{8}T\d{6}Z)", data)
        if self.skew_max_s is not None and signed:
            at_s = calendar.timegm(time.strptime(signed[1].decode(), "%Y%m%dT%H%M%SZ"))
            if abs(time.time() - at_s) > self.skew_max_s:
                return 403
        if method in ("PUT", "POST"):
            self.puts.append(path)
            if self.answer_for in path:
                return self.answer
        return 0

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if self.lie:
                    data = re.sub(rb'(?i)(etag: "?)[0-9a-f]{4}', rb"\g<1>beef", data)
                client.sendall(data)
        with suppress(OSError):  # or the client would wait for an answer to its next request
            client.shutdown(socket.SHUT_RDWR)


class WebDav(BaseHTTPRequestHandler):
    """PUT, GET and HEAD, and nothing else; `server.objects` holds what was put, or nearly so if it `corrupts`."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[self.path] = body[:-1] + b"?" if self.server.corrupts else body
        self._answer(201, b"")

    def do_GET(self) -> None:
        found = self.server.objects.get(self.path)
        self._answer(404, b"") if found is None else self._answer(200, found)

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 26 Nov 2026 05:00:00 GMT")
        self.send_header("ETag", '"5f3e-1a"')
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def http(port: int = 0, objects: dict[str, bytes] | None = None) -> Iterator[Any]:
    """A plain HTTP server; `url` is its address."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", port), WebDav)
    server.daemon_threads = True
    server.objects, server.corrupts = {} if objects is None else objects, False
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def checked_credentials(url: str) -> Iterator[None]:
    """The server of `s3` refuses credentials that it does not know, which are all, meanwhile."""
    check_credentials(url, True)
    yield
    check_credentials(url, False)


def check_credentials(url: str, checked: bool) -> None:
    request = urllib.request.Request(
        f"{url}/moto-api/reset-auth",
        data=b"0" if checked else b"inf",
        headers={"Content-Type": "text/plain"},
        method="POST",
    )
    urllib.request.urlopen(request).close()


@contextmanager
def s3(port: int = 0) -> Iterator[str]:
    """An empty server with the bucket; gives its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    try:
        for address, method in ((f"{url}/moto-api/reset", "POST"), (f"{url}/{BUCKET}", "PUT")):
            urllib.request.urlopen(urllib.request.Request(address, method=method)).close()
        yield url
    finally:
        server.stop()


def main() -> None:
    """`python -m tests.spool.server HOST PORT`: the server behind its link, and what happens to them on stdin.

    A line of JSON sets the link: `{"answer": 503}`; `"checked"` sets whether credentials are, `"running"` whether
    anybody listens: a server that is back has what it had. It ends with stdin.
    """
    host, port = sys.argv[1], int(sys.argv[2])
    with s3() as url:
        link: Link | None = Link(int(url.rpartition(":")[2]), (host, port))
        print("ready", flush=True)
        for line in sys.stdin:
            told = json.loads(line)
            if "checked" in told:
                check_credentials(url, told.pop("checked"))
            if told.pop("running", True) is False:
                assert link is not None
                link.close()
                link = None
            elif link is None:
                link = Link(int(url.rpartition(":")[2]), (host, port))
            for name, value in told.items():
                setattr(link, name, value)
            print("done", flush=True)


if __name__ == "__main__":
    main()
