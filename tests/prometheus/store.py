"""A small S3 server in memory, whose faults and times a test sets. It checks no signature, and knows what cc-archiver asks for in small objects."""

import hashlib
import re
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "monitoring"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        # of a HEAD this is the length that a GET has
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode())

    def serve(self):
        store = self.server.store
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        refused = store.fault(self.command, key)
        if refused:
            return self.refuse(*refused)
        with store.lock:
            match self.command:
                case "GET" if not key:
                    self.list(store, query)
                case "GET" | "HEAD":
                    self.get(store, key)
                case "PUT":
                    self.put(store, key, body)
                case "DELETE":
                    store.objects.pop(key, None)
                    self.answer(204)
                case "POST" if "delete" in query:
                    names = re.findall(r"<Key>(.*?)</Key>", body.decode())
                    for name in names:
                        store.objects.pop(name, None)
                    deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
                    self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())
                case _:
                    self.refuse(501, "NotImplemented")

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = serve

    def list(self, store, query):
        of = lambda name: query.get(name, [""])[0]
        prefix, delimiter, after = of("prefix"), of("delimiter"), of("start-after")
        keys, folders = [], set()
        for key in sorted(store.objects):
            if not key.startswith(prefix) or key <= after:
                continue
            if delimiter and delimiter in key[len(prefix) :]:
                folders.add(prefix + key[len(prefix) :].split(delimiter)[0] + delimiter)
            else:
                keys.append(key)
        text = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{store.objects[key].iso()}</LastModified><ETag>{store.objects[key].etag}</ETag>"
            f"<Size>{len(store.objects[key].bytes)}</Size></Contents>"
            for key in keys
        ) + "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders))
        self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{text}</ListBucketResult>".encode(), Content_Type="application/xml")

    def get(self, store, key):
        found = store.objects.get(key)
        if not found:
            return self.refuse(404, "NoSuchKey")
        headers = {"ETag": found.etag, "Last_Modified": formatdate(found.written, usegmt=True), **found.metadata}
        size = len(found.bytes)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if self.command == "HEAD" or not asked:
            return self.answer(200, found.bytes, Content_Length=str(size), **headers)
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(int(last), size - 1) if first and last else size - 1
        if start > end:
            return self.refuse(416, "InvalidRange")
        self.answer(206, found.bytes[start : end + 1], Content_Range=f"bytes {start}-{end}/{size}", **headers)

    def put(self, store, key, body):
        if self.headers.get("If-None-Match") == "*" and key in store.objects:
            return self.refuse(412, "PreconditionFailed")
        metadata = {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}
        found = store.objects[key] = Object(body, metadata, store.clock())
        self.answer(200, ETag=found.etag)
        if store.spoils and key.endswith(".parquet"):
            middle = len(body) // 2
            found.bytes = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


class Object:
    def __init__(self, body, metadata, written):
        self.bytes, self.metadata, self.written = body, metadata, written
        self.etag = f'"{hashlib.md5(body).hexdigest()}"'

    def iso(self):
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.written))


class Store:
    """`fault(method, key)` gives what a request is refused with, (status, code), or None. With `spoils`, objects lose a bit after they were taken."""

    def __init__(self):
        self.lock = threading.Lock()
        self.objects = {}
        self.clock = time.time
        self.heal()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # a run that was killed reads no answer
        self.server.handle_error = lambda *_: None
        self.server.store = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def heal(self):
        self.fault = lambda method, key: None
        self.spoils = False

    def remove(self, folder, ending):
        """Takes away what somebody would remove by hand."""
        for key in [key for key in self.objects if key.startswith(folder) and key.endswith(ending)]:
            del self.objects[key]

    def archive(self, folder):
        """The arguments for an archive in it."""
        return [f"s3://{BUCKET}/{folder}", "--endpoint", self.endpoint]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
