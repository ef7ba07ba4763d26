"""A page on loopback that shows pictures as an MJPEG stream, with the keys as buttons: a display without a screen.

Listens on 127.0.0.1 alone, under an address with a random part, and answers only requests whose Host is that address:
neither another user's program nor a web page in the same browser can look or press.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nodes.vision.video_read import Picture
from wfe import Refuse

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>
body{{font:16px system-ui,sans-serif;margin:1rem;background:#111;color:#eee}}
img{{max-width:100%;display:block;margin-bottom:1rem}}button{{font:inherit;padding:.5rem 1rem;margin-right:.5rem}}
</style></head><body><img src="stream" alt="live picture with detections">
<button id="s">S: start or stop recording</button><button id="q">Q: quit</button> <span id="said" role="status"></span>
<script>
const said = document.getElementById("said");
async function press(key) {{
  try {{ said.textContent = await (await fetch("key/" + key, {{method: "POST"}})).text(); }}
  catch (error) {{ said.textContent = "The stream has ended."; }}
}}
for (const key of ["s", "q"]) document.getElementById(key).onclick = () => press(key);
document.onkeydown = event => {{ const key = event.key.toLowerCase(); if (key === "s" || key === "q") press(key); }};
</script></body></html>
"""


class Page:
    """The server of the page. `address` is what to open in a browser."""

    def __init__(self, title: str, port: int = 0) -> None:
        """Listen on `port` (0: any free one). Raises wfe.Refuse when it is taken, or not for this user."""
        self._title = title
        self._token = secrets.token_urlsafe(12)
        self._changed = threading.Condition()
        self._picture = b""
        self._number = 0
        self._closed = False
        self._pressed: deque[str] = deque()
        self._recording = False
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise Refuse(
                f"'page_port' is {port}, which cannot be had ({error.strerror}); 0 takes any free one"
            ) from error
        self._server.daemon_threads = True
        taken = self._server.server_address[1]
        self._host = "127.0.0.1" if taken == 80 else f"127.0.0.1:{taken}"  # as a browser says it
        self.address = f"http://{self._host}/{self._token}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="page", daemon=True)
        self._thread.start()

    def show(self, picture: Picture, recording: bool) -> None:
        import cv2

        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
        with self._changed:
            self._picture, self._number, self._recording = coded, self._number + 1, recording
            self._changed.notify_all()

    def pressed(self) -> list[str]:
        with self._changed:
            pressed = list(self._pressed)
            self._pressed.clear()
        return pressed

    def close(self) -> None:
        """End the streams and the server."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, after: int) -> tuple[bytes, int]:
        """The first picture later than number `after`; empty when the page was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > after)
            return (b"", after) if self._closed else (self._picture, self._number)

    def _press(self, key: str) -> str:
        with self._changed:
            self._pressed.append(key)
            if key == "q":
                return "Stopping."
            return "Recording stops." if self._recording else "Recording starts."

    def _handler(page) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                what = self._asked()
                if what == "":
                    self._answer(_PAGE.format(title=escape(page._title)).encode(), "text/html; charset=utf-8")
                elif what == "stream":
                    self._stream()
                else:
                    self.send_error(404)

            def do_POST(self) -> None:
                what = self._asked()
                if what in ("key/q", "key/s"):
                    self._answer(page._press(what[-1]).encode(), "text/plain; charset=utf-8")
                else:
                    self.send_error(404)

            def _asked(self) -> str | None:
                """What lies behind the secret part of the address; None when the address or the host is another."""
                lead = f"/{page._token}/"
                good = self.headers.get("Host") == page._host and self.path.startswith(lead)
                return self.path[len(lead) :] if good else None

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.send_header("Cache-Control", "no-store")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                number = 0
                try:
                    while True:
                        picture, number = page._next(number)
                        if not picture:
                            return
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                        self.wfile.write(head.encode() + picture + b"\r\n")
                except OSError:
                    return  # the browser went away

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler
