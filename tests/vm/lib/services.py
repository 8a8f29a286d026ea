#!/usr/bin/python3
"""What a machine under test can reach beside the stand-ins, on the other end of its network card:

  HOST:80              a caching gateway to the apt mirrors of the machine that runs the tests
  169.254.169.254:80   where a case asks for it: an EC2 instance metadata service, version 2 only

The machine's network is a namespace without a route out. The sockets are opened there; then this process
returns to the namespace it came from (the file descriptor in "outer_netns"), so that the gateway can connect
to the mirrors.

Usage: services.py CONFIG.json
"""

import ctypes
import http.client
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLONE_NEWNET = 0x40000000
IO_TIMEOUT = 120.0
CHUNK = 1 << 16


def log(message):
    """One line an event."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def enter_netns(fd):
    """Moves this thread, and those it starts later, to a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"setns: {os.strerror(err)}")


class Server(ThreadingHTTPServer):
    """One thread a connection."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address, handler, config):
        self.config = config
        super().__init__(address, handler)

    def finish_request(self, request, client_address):
        request.settimeout(IO_TIMEOUT)
        self.RequestHandlerClass(request, client_address, self)

    def handle_error(self, request, client_address):
        log(f"{client_address[0]} {sys.exc_info()[1]!r}")


class Handler(BaseHTTPRequestHandler):
    """What both services have in common."""

    protocol_version = "HTTP/1.1"
    sys_version = ""

    def log_message(self, format, *args):
        host = self.headers.get("Host", "-") if getattr(self, "headers", None) else "-"
        log(f"{host} {format % args}")

    def reply(self, status, body=b"", extra=()):
        """A short answer."""
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for key, value in extra:
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class AptHandler(Handler):
    """The gateway. Packages never change and are kept; indexes are asked for every time."""

    def do_GET(self):
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0].lower()
        path = urllib.parse.unquote(self.path.split("?", 1)[0])
        parts = [part for part in path.split("/") if part not in ("", ".")]
        upstream = self.server.config["apt"]["upstream"].get(host)
        if upstream is None or ".." in parts:
            self.reply(404, "not here\n")
            return
        keep = bool(parts) and (parts[-1].endswith(".deb") or "by-hash" in parts)
        cached = os.path.join(self.server.config["apt"]["cache"], host, *parts)
        if keep and os.path.isfile(cached):
            self.reply_file(cached)
            return
        url = upstream.rstrip("/") + "/" + urllib.parse.quote("/".join(parts))
        request = urllib.request.Request(url, method=self.command)
        for name in ("If-Modified-Since", "Range", "If-Range", "Cache-Control"):
            if self.headers.get(name) and not keep:
                request.add_header(name, self.headers[name])
        proxies = self.server.config["apt"].get("proxies") or {}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        try:
            response = opener.open(request, timeout=IO_TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code == 304:
                # No body and no length.
                self.send_response(304)
                self.end_headers()
            else:
                self.reply(error.code, f"upstream said {error.code}\n")
            return
        except (OSError, http.client.HTTPException) as error:
            self.reply(502, f"upstream failed: {error}\n")
            return
        with response:
            self.relay(response, cached if keep and self.command == "GET" else None)

    do_HEAD = do_GET

    def reply_file(self, path):
        """A kept file."""
        with open(path, "rb") as source:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(os.fstat(source.fileno()).st_size))
            self.end_headers()
            if self.command != "HEAD":
                shutil.copyfileobj(source, self.wfile, CHUNK)

    def relay(self, response, cached):
        """Passes an answer on, and keeps it where that was asked for and all of it came."""
        self.send_response(response.status)
        for name in ("Content-Type", "Content-Length", "Last-Modified", "Content-Range"):
            if response.headers.get(name):
                self.send_header(name, response.headers[name])
        if not response.headers.get("Content-Length"):
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        copy = None
        if cached and response.status == 200:
            os.makedirs(os.path.dirname(cached), exist_ok=True)
            copy = tempfile.NamedTemporaryFile(dir=os.path.dirname(cached), delete=False)
        try:
            done = 0
            while chunk := response.read(CHUNK):
                done += len(chunk)
                self.wfile.write(chunk)
                if copy:
                    copy.write(chunk)
            wanted = response.headers.get("Content-Length")
            if wanted is not None and done != int(wanted):
                raise OSError(f"upstream sent {done} of {wanted} bytes")
            if copy:
                copy.close()
                os.replace(copy.name, cached)
                copy = None
        finally:
            if copy:
                copy.close()
                os.unlink(copy.name)


class MetadataHandler(Handler):
    """EC2 instance metadata, IMDSv2: a session token comes first."""

    tokens = {}
    lock = threading.Lock()
    MAX_TTL = 21600

    def do_PUT(self):
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            self.reply(404)
        elif self.headers.get("X-Forwarded-For"):
            self.reply(403)
        elif not ttl.isdigit() or not 1 <= int(ttl) <= self.MAX_TTL:
            self.reply(400)
        else:
            token = secrets.token_urlsafe(40)
            with self.lock:
                self.tokens[token] = time.monotonic() + int(ttl)
            self.reply(200, token, extra=[("X-aws-ec2-metadata-token-ttl-seconds", ttl)])

    def do_GET(self):
        imds = self.server.config["imds"]
        with self.lock:
            expiry = self.tokens.get(self.headers.get("X-aws-ec2-metadata-token", ""), 0.0)
        if expiry < time.monotonic() and not self.is_exempt():
            self.reply(401, "Unauthorized")
            return
        parts = [part for part in self.path.split("?", 1)[0].split("/") if part]
        if not parts:
            self.reply(200, "\n".join(imds["versions"]))
        elif parts[0] not in imds["versions"]:
            self.reply(404)
        elif parts[1:] == ["user-data"]:
            try:
                with open(imds["user_data"], "rb") as source:
                    self.reply(200, source.read())
            except FileNotFoundError:
                self.reply(404)
        else:
            self.reply_node(imds["tree"], parts[1:])

    do_HEAD = do_GET

    def is_exempt(self):
        """Without Amazon's DMI strings cloud-init does not ask for a token; then it alone may do without."""
        agents = tuple(self.server.config["imds"]["exempt"])
        return bool(agents) and self.headers.get("User-Agent", "").startswith(agents)

    def reply_node(self, node, parts):
        """A value, or the names below it."""
        for part in parts:
            node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            self.reply(404)
        elif isinstance(node, dict):
            self.reply(200, "\n".join(key + "/" if isinstance(value, dict) else key for key, value in node.items()))
        else:
            self.reply(200, node)


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        config = json.load(source)
    servers = [Server((config["host"], 80), AptHandler, config)]
    if config.get("imds"):
        servers.append(Server(("169.254.169.254", 80), MetadataHandler, config))
    enter_netns(config["outer_netns"])
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(config["ready"], "w", encoding="utf-8"):
        pass
    threading.Event().wait()  # until a signal ends the process


if __name__ == "__main__":
    main()
