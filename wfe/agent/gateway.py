"""The one door out of a sandbox: an HTTP proxy on a Unix socket that connects only to the hosts it was given.

Knows HTTP's request line and CONNECT. Does not know sandboxes or nodes: a node that was granted `network: [host]`
reaches the gateway through the proxy variables that `requests`, `httpx` and `urllib` heed; it has no other network.
"""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from wfe.agent.jail.relay import pipe

_HEAD_LIMIT = 65536
_SECONDS = 30.0


def permitted(host: str, port: int, hosts: Iterable[str]) -> bool:
    """Whether `host:port` is one of `hosts`: "example.org" (any port), "example.org:8443", "*.example.org" (below
    it).
    """
    host = host.lower().rstrip(".")
    for entry in hosts:
        name, colon, wanted = entry.lower().rpartition(":")
        if not colon or not wanted.isdigit():
            name, wanted = entry.lower(), ""
        if wanted and int(wanted) != port:
            continue
        if host == name or (name.startswith("*.") and host.endswith(name[1:])):
            return True
    return False


@contextmanager
def gateway(hosts: Iterable[str], directory: Path) -> Iterator[Path]:
    """Serve on a Unix socket in `directory` while the block runs; yields its path. Raises OSError when it cannot
    listen.
    """
    path = directory / "gateway"
    allowed = tuple(hosts)

    class Handler(_Handler):
        hosts = allowed

    # A Unix socket's path holds 107 bytes; a deep staging directory is longer, its descriptor under /proc is not.
    held = os.open(directory, os.O_RDONLY)
    try:
        with _Server(f"/proc/self/fd/{held}/gateway", Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            try:
                yield path
            finally:
                server.shutdown()
                thread.join()
                path.unlink(missing_ok=True)
    finally:
        os.close(held)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is nobody's concern; the node sees its own end of it."""


class _Handler(socketserver.BaseRequestHandler):
    hosts: tuple[str, ...] = ()

    def handle(self) -> None:
        near: socket.socket = self.request
        near.settimeout(_SECONDS)
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = near.recv(4096)
            if not chunk or len(head) > _HEAD_LIMIT:
                return
            head += chunk
        line, rest = head.split(b"\r\n", 1)
        method, target, version = [*line.decode("latin-1").split(" "), "", ""][:3]
        tunnel = method == "CONNECT"
        try:
            parts = urlsplit(f"//{target}" if tunnel else target)
            host, port = parts.hostname or "", parts.port or (443 if tunnel else 80)
        except ValueError:
            self._refuse("400 Bad Request", "not an address")
            return
        if not permitted(host, port, self.hosts):
            self._refuse("403 Forbidden", f"the sandbox allows no connection to {host}:{port}")
            return
        try:
            far = socket.create_connection((host, port), timeout=_SECONDS)
        except OSError as error:
            self._refuse("502 Bad Gateway", f"{host}:{port}: {error}")
            return
        far.settimeout(None)
        near.settimeout(None)
        if tunnel:
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            far.sendall(rest.split(b"\r\n\r\n", 1)[-1] if b"\r\n\r\n" in rest else b"")
        else:
            path = parts.path or "/"
            path += f"?{parts.query}" if parts.query else ""
            # One request a connection: on a kept one a second request could name another host behind our back.
            headers, body = [*rest.split(b"\r\n\r\n", 1), b""][:2]
            kept = [h for h in headers.split(b"\r\n") if h.split(b":")[0].strip().lower() not in _HOP_BY_HOP]
            far.sendall(
                b"\r\n".join([f"{method} {path} {version}".encode(), *kept, b"Connection: close", b"", b""]) + body
            )
        pipe(near, far)

    def _refuse(self, status: str, why: str) -> None:
        text = f"wfe gateway: {why}\n".encode()
        self.request.sendall(
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
            f"Connection: close\r\n\r\n".encode()
            + text
        )


_HOP_BY_HOP = {b"connection", b"proxy-connection", b"keep-alive", b"proxy-authorization", b"te", b"upgrade"}
