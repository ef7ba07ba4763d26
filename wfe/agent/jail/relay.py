"""Inside a sandbox with a network of its own: 127.0.0.1:port <-> the gateway's Unix socket. Bytes, nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback address of this network namespace."""
    return socket.create_server(("127.0.0.1", port))


def serve(server: socket.socket, gateway: str) -> None:
    """Carry every connection to the Unix socket `gateway`, for ever."""
    while True:
        near, _ = server.accept()
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(gateway)
        except OSError:
            near.close()
            far.close()
            continue
        threading.Thread(target=pipe, args=(near, far), daemon=True).start()


def pipe(near: socket.socket, far: socket.socket) -> None:
    """Copy both ways until both sides are done, then close both; blocks meanwhile."""
    back = threading.Thread(target=_copy, args=(far, near), daemon=True)
    back.start()
    _copy(near, far)
    back.join()
    near.close()
    far.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with contextlib.suppress(OSError):  # the peer was first
                end.shutdown(socket.SHUT_RDWR)
