"""A server that keeps what is put into it: `server.py PORT FOLDER AUTHORIZATION`; others it refuses."""

import sys
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

PORT, FOLDER, AUTHORIZATION = sys.argv[1:]


class Handler(SimpleHTTPRequestHandler):
    def parse_request(self):
        if not super().parse_request():
            return False
        if self.headers["Authorization"] != AUTHORIZATION:
            self.send_error(401)
            return False
        return True

    def do_PUT(self):
        path = Path(self.translate_path(self.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()


HTTPServer(("127.0.0.1", int(PORT)), partial(Handler, directory=FOLDER)).serve_forever()
