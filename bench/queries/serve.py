"""A file server that counts what is asked of it: HTTP with Range requests on the loopback address, for files that do not change.

Reads of S3 in path style look the same, so a bucket is a folder here. It has no listing and checks no credentials.
"""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

CHUNK = 1 << 18


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def do_HEAD(self):
        self.counted(False)

    def do_GET(self):
        self.counted(True)

    def counted(self, body):
        counts = self.server.counts
        counts.begin()
        try:
            self.answer(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            counts.end()

    def answer(self, body):
        path = (self.server.root / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        if not path.is_relative_to(self.server.root) or not path.is_file():
            return self.refuse(404)
        size = path.stat().st_size
        span = span_of(self.headers.get("Range"), size)
        if span is None:
            return self.refuse(416)
        first, end, partial = span
        self.send_response(206 if partial else 200)
        self.send_header("Content-Length", str(end - first))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{size:x}-{path.stat().st_mtime_ns:x}"')
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
        self.end_headers()
        if body:
            self.send(path, first, end)

    def send(self, path, first, end):
        with path.open("rb") as file:
            file.seek(first)
            while first < end:
                self.wfile.write(file.read(min(CHUNK, end - first)))
                done = min(CHUNK, end - first)
                first += done
                self.server.counts.add(done)

    def refuse(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def span_of(header, size):
    """First byte, the one after the last, and whether that was asked for; None if there is no such span."""
    if header is None:
        return 0, size, False
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        return max(0, size - int(last)), size, True
    end = min(size, int(last) + 1) if last else size
    return (int(first), end, True) if int(first) < end else None


class Counts:
    """Requests, and bytes of bodies that were sent. Headers are not counted."""

    def __init__(self):
        self.changed = threading.Condition()
        self.requests = self.bytes = self.active = 0

    def begin(self):
        with self.changed:
            self.requests += 1
            self.active += 1

    def end(self):
        with self.changed:
            self.active -= 1
            self.changed.notify_all()

    def add(self, count):
        with self.changed:
            self.bytes += count

    def take(self):
        """What there was since the last time, when nothing is being answered any more."""
        with self.changed:
            self.changed.wait_for(lambda: self.active == 0, timeout=60)
            found = self.requests, self.bytes
            self.requests = self.bytes = 0
            return found


class Server:
    """Serves the files below a folder as long as it is entered."""

    def __init__(self, root):
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.root = Path(root).resolve()
        self.http.counts = self.counts = Counts()
        self.address = f"127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
