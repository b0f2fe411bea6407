#!/usr/bin/env python3
"""An application to try a proxy with: it answers every request with what it was sent.

python3 examples/echo.py    (on 127.0.0.1:9000)
"""

import http.server


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items())]
        body = "\n".join(lines).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Echo).serve_forever()
