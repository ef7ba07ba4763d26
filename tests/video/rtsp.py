"""A minimal RTSP server on loopback: MPEG-TS in RTP packets through the RTSP connection itself (RFC 2326, 10.12; RFC 2250)."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from pathlib import Path

CHUNK = 7 * 188  # whole packets of MPEG-TS that fit a usual datagram


class Rtsp:
    """Sends the file `video` (MPEG-TS) to whoever asks, then ends the connection. `address` is the stream's."""

    def __init__(self, video: Path) -> None:
        content = video.read_bytes()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while line := self.rfile.readline().decode().strip():
                    method = line.split()[0]
                    fields = {}
                    while header := self.rfile.readline().decode().strip():
                        name, _, value = header.partition(":")
                        fields[name.lower()] = value.strip()
                    more, body = "", ""
                    if method == "DESCRIBE":
                        body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:one\r\n"
                        more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
                    elif method == "SETUP":
                        more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
                    elif method == "OPTIONS":
                        more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
                    head = f"RTSP/1.0 200 OK\r\nCSeq: {fields.get('cseq', '0')}\r\n{more}\r\n{body}"
                    self.wfile.write(head.encode())
                    if method == "PLAY":
                        with contextlib.suppress(OSError):  # the reader has seen enough
                            self.send()
                        return

            def send(self) -> None:
                for number, begin in enumerate(range(0, len(content), CHUNK)):
                    rtp = struct.pack("!BBHII", 0x80, 33, number & 0xFFFF, number * 900, 1)
                    packet = rtp + content[begin : begin + CHUNK]
                    self.wfile.write(b"$\x00" + struct.pack("!H", len(packet)) + packet)
                # Closing a connection with the reader's reports still unread would reset it, and the reader would lose
                # what it has not yet taken.
                self.connection.shutdown(socket.SHUT_WR)
                while self.rfile.read1():  # type: ignore[attr-defined]
                    pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"rtsp://127.0.0.1:{self._server.server_address[1]}/x"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
