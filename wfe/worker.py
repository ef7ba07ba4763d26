"""The child: runs node functions in whatever environment its interpreter belongs to.

Knows how to serve calls that come over a pipe, one at a time: import the function, give it its inputs, catch all that
it does, put back what it changed. Imports nothing of ours but `wfe`, `wfe.wire` and the node's module (a test looks at
`sys.modules`), and nothing slow: it must be ready in some 30 ms. Does not know what the calls are for.

stdout and stderr of this process are pipes that the engine reads: a crash loses none of what was printed, and a C
library that prints a lot while it holds the interpreter lock cannot block itself, as it would with a reader thread in
here.
"""

from __future__ import annotations

import errno
import json
import os
import select
import sys
from _thread import allocate_lock, start_new_thread
from contextlib import suppress
from time import monotonic, perf_counter
from typing import Any

import wfe
from wfe.wire import frames
from wfe.wire.children import adopt_orphans, children, end_children, has_children
from wfe.wire.leaving import leave
from wfe.wire.small_file import put
from wfe.wire.sources import Sources
from wfe.wire.surroundings import Surroundings, stream_to
from wfe.wire.values import Staging, ValueRefused, decode, encode, read_file, unwritten
from wfe.wire.will import Will

# Seconds between two progress events: an eye sees no more, and a node that reports a million steps must not pay for it.
PROGRESS_EVERY = 0.05
# Written to stdout and stderr at a call's end for an engine that cannot ask a pipe whether it is empty (Windows).
END_OF_CALL = b"\0wfe: end of call\0"
# Written to the pipe that tells of the engine's death by one that lives: there is nothing more to do.
DISMISSED = b"d"
# Characters of a result that is written here. The engine keeps longer ones in a file of their own.
LONGEST = 64 * 1024
# As `wfe.core.digest.canonical`, which knows xxhash: the text is what the engine hashes.
_canonical = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Sender:
    """Sends frames from any thread. Progress is thinned out; the last one before a reply is always sent."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.will = Will()
        self.lock = allocate_lock()
        self.held: dict[str, Any] | None = None
        self.last = 0.0

    def event(self, kind: str, content: dict[str, Any]) -> None:
        with self.lock:
            if kind == "progress":
                now = monotonic()
                if now - self.last < PROGRESS_EVERY:
                    self.held = content
                    return
                self.last = now
                self.held = None
            self._write(frames.EVENT, [kind, content])

    def reply(self, message: dict[str, Any], bequest: str = "") -> None:
        """bequest: as in a call; to be kept if there is one."""
        with self.lock:
            if self.held is not None:
                self._write(frames.EVENT, ["progress", self.held])
                self.held = None
            text = message.pop("text") if message.get("text", "\u2014").isascii() else ""
            frame = frames.pack(frames.REPLY, message, tail=text)
            if bequest:
                self.will.keep(bequest, frame)
            frames.write_all(self.descriptor, frame)

    def _write(self, kind: int, message: Any) -> None:
        frames.write_all(self.descriptor, frames.pack(kind, message))


class Caller:
    """Calls functions in this process, one at a time. Knows nothing of pipes."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.sources: Sources | None = None
        self.functions: dict[tuple[str, str, str], Any] = {}
        self.seeded = False
        self.native_flush: Any = None
        self.desk: Any = None

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request of `engine/workers.py`: a dict with "state" and what belongs to that state."""
        begun = [perf_counter()]
        try:
            function = self.functions.get((call["module"], call["function"], call["code"]))
            if function is None or not call["code"]:
                stale = self.stale(call["root"])
                if stale:
                    return {"state": "stale", "message": stale}
                function = self.load(call)
            reply = self.run(call, function, begun)
        except BaseException as error:  # noqa: BLE001 (whatever a node raises is told)
            reply = self.failed(error)
        mixed = self.sources.mixed() if self.sources is not None else ""
        if mixed:
            # And changed back, perhaps: what was run is not what the call's digest says, in this call and all to come.
            message = f"its source {mixed} changed while it ran; its result was not kept: run again"
            reply = {
                "state": "raised",
                "kind": "changed",
                "message": message,
                "traceback": "",
                "bases": [],
                "worn": True,
            }
        reply["seconds"] = perf_counter() - begun[0]
        call["inputs"] = None  # the last references to arrays in blocks, which `tidy` looks for
        self.tidy(reply)
        self.settle(reply)
        return reply

    def failed(self, error: BaseException) -> dict[str, Any]:
        return describe(error)

    def stale(self, root: str) -> str:
        """The first source that changed since it was imported, or ""."""
        if self.sources is None:
            self.sources = Sources(root)
            self.sources.install()
            self.surroundings.paths = list(sys.path)
            return ""
        return self.sources.changed()

    def load(self, call: dict[str, Any]) -> Any:
        name = call["module"]
        if name not in sys.modules:
            # The file may be younger than the listing of its folder. Not importlib.invalidate_caches: it loads the
            # finder of package metadata with all that needs (email, csv, inspect: 20 ms).
            for finder in list(sys.path_importer_cache.values()):
                if finder is not None and hasattr(finder, "invalidate_caches"):
                    finder.invalidate_caches()
            # Not import_module: its own frames would stand in the traceback of a module that fails to import.
            __import__(name)
            if "numpy" in sys.modules or "ctypes" in sys.modules:
                self.native_flush = _native_flush()
        function = sys.modules[name]
        for part in call["function"].split("."):
            function = getattr(function, part)
        self.functions[name, call["function"], call["code"]] = function
        return function

    def run(self, call: dict[str, Any], function: Any, begun: list[float]) -> dict[str, Any]:
        if call["environ"]:
            os.environ.update(call["environ"])
        wfe._slots = call["slots"]
        self.seed(call["seed"])
        place: Any = None
        if call["staging"]:
            place = Staging(call["staging"])
        elif call["blocks"]:
            self.sit_down().lay_out(**call["blocks"])
            place = self.desk.place
        holes = call["holes"]
        outputs = [path for _, codec, path in holes if codec == "output"]
        inputs = decode(call["inputs"], holes, self.read) if holes else call["inputs"]
        begun[0] = perf_counter()
        value = function(**inputs)
        seconds = perf_counter() - begun[0]
        del inputs
        reply = self.returned(value, place, outputs)
        begun[0] = perf_counter() - seconds
        return reply

    def returned(self, value: Any, place: Any, outputs: list[str]) -> dict[str, Any]:
        try:
            tree, filled = encode(value, place, outputs)
        except OSError as error:
            told = unwritten(error)
            return {"state": "raised", "kind": "environment", "message": told, "traceback": "", "bases": []}
        return {"state": "returned", "value": tree, "holes": filled}

    def sit_down(self) -> Any:
        if self.desk is None:
            from wfe.wire.desk import Desk

            self.desk = Desk()
        return self.desk

    def read(self, codec: str, path: str) -> Any:
        if codec == "output":
            return wfe.Output(path)
        if codec == "shm":
            return self.sit_down().read(path)
        return read_file(codec, path)

    def seed(self, seed: int | None) -> None:
        if seed is None and not self.seeded:
            return
        import random

        random.seed(seed)
        numpy = sys.modules.get("numpy")
        if numpy is None and seed is not None:
            # A function that imports NumPy only when it is called must find it seeded too.
            try:
                import numpy
            except ImportError:
                numpy = None
        if numpy is not None:
            # NumPy takes 32 bits, or several times 32 bits.
            words = (
                None if seed is None else [seed >> at & 0xFFFFFFFF for at in range(0, max(32, seed.bit_length()), 32)]
            )
            numpy.random.seed(words[0] if words and len(words) == 1 else words)
        self.seeded = seed is not None

    def tidy(self, reply: dict[str, Any]) -> None:
        """After a call: flush what was printed, let go of what it used."""
        wfe._slots = {}
        for stream in (sys.stdout, sys.stderr):
            with suppress(ValueError, OSError, AttributeError):  # closed or replaced by the node; restored below
                stream.flush()
        if self.native_flush is not None:
            self.native_flush(None)
        if self.desk is not None:
            kept = self.desk.clear()
            if kept:
                reply["kept"] = kept

    def settle(self, reply: dict[str, Any]) -> None:
        """Put the surroundings back."""
        self.surroundings.restore()


class Worker(Caller):
    """A process that does nothing but calls: serves them until the pipe ends."""

    def __init__(self, channel: frames.Channel, life: int) -> None:
        super().__init__(Surroundings())
        self.channel = channel
        self.sender = Sender(channel.writer)
        self.pid = os.getpid()
        self.life = life
        self.broken = False  # whether what was sent behind the last call must not be begun

    def serve(self) -> None:
        """Raises Closed or BrokenPipeError when nobody has a call any more."""
        wfe._emit = self.sender.event
        wfe._stopping = self.stopping
        keen = 0.0
        while True:
            self.channel.look(keen)
            kind, call = self.channel.receive()
            if self.sender.will.over:  # the engine is gone, and has sent more than one
                raise frames.Closed("the engine is gone")
            if kind != frames.CALL:
                raise frames.FrameError(f"BUG: a worker got a frame of kind {kind}")
            if not call["behind"]:
                self.broken = False
            elif self.broken or waits(self.life):  # what the engine writes there says: begin nothing by yourself
                self.sender.reply({"state": "unbegun", "seconds": 0.0, "broken": True})
                continue
            reply: dict[str, Any] = {"state": "outdated", "seconds": 0.0}
            if not changed(call["files"]):
                reply = self.answer(call)
                reply["still"] = not changed(call["files"])  # before the next call can write to one
            if call["marks"]:
                self.surroundings.restore()  # the node may have closed the two streams
                for number in (1, 2):
                    os.write(number, END_OF_CALL)
            self.write_result(call["result"], reply)
            reply["printed"] = printed = has_printed()
            # The engine could not tell what two calls print, and it ends this process after one that left another behind.
            good = printed is False and reply["state"] == "returned" and not reply.get("children")
            self.broken = not good or waits(self.life)
            reply["broken"] = self.broken
            self.sender.reply(reply, call.get("tail", "") if good else "")
            if reply["seconds"] >= frames.SOON:
                self.surroundings.restore()
            # Calls that come several at a time are sent before the worker has nothing to do.
            keen = call["keen"]
            if keen <= frames.KEEN and reply["seconds"] >= frames.SOON:
                keen = 0.0

    def stopping(self) -> bool:
        """As in wfe: what the engine writes to be told so."""
        try:
            return waits(self.life)
        except (ImportError, OSError):  # Windows, or the node closed it
            return False

    def settle(self, reply: dict[str, Any]) -> None:
        """After a long call only when the reply is away, for which the engine waits to send the next one."""
        if reply["seconds"] < frames.SOON:
            self.surroundings.restore()

    def write_result(self, path: str, reply: dict[str, Any]) -> None:
        """Put the plain result of a short call into its file, while the engine does something else; where that fails, it does
        this too. After a long call it waits for the reply, to send the next one."""
        if path and reply["state"] == "returned" and not reply["holes"] and reply["seconds"] < frames.SOON:
            text = _canonical(reply["value"])
            if len(text) <= LONGEST:
                with suppress(OSError):
                    told = put(text.encode("utf-8", "surrogatepass") + b"\n", path)
                    reply["stat"] = [told.st_mtime_ns, told.st_ctime_ns, told.st_size, told.st_ino]
                    reply["text"], reply["value"] = text, None

    def failed(self, error: BaseException) -> dict[str, Any]:
        self.leave_if_forked()
        return super().failed(error)

    def returned(self, value: Any, place: Any, outputs: list[str]) -> dict[str, Any]:
        self.leave_if_forked()
        return super().returned(value, place, outputs)

    def leave_if_forked(self) -> None:
        """End a child that the node forked and let return into our code: it has no call to answer."""
        if os.getpid() != self.pid:
            os._exit(0)

    def tidy(self, reply: dict[str, Any]) -> None:
        if has_children():
            reply["children"] = end_children()
        super().tidy(reply)


def changed(files: list[tuple[str, int, int, int, int]]) -> bool:
    """Whether one of the files was written to since stat said these times, size and inode of it."""
    for path, *known in files:
        try:
            told = os.stat(path)
        except OSError:
            return True
        if [told.st_mtime_ns, told.st_ctime_ns, told.st_size, told.st_ino] != known:
            return True
    return False


def has_printed() -> bool | None:
    """Whether there is something in the pipes of stdout and stderr that the engine has not read; None where the system does
    not tell at this end of a pipe."""
    try:
        return waits(1) or waits(2) if sys.platform == "linux" else None
    except OSError:  # the node closed one
        return None


def waits(pipe: int) -> bool:
    """Whether there is something in a pipe; asked at its writing end too, which is not possible everywhere. Raises OSError."""
    import fcntl
    import termios

    return fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0"


FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as text: only text travels, so that no exception can be unpicklable."""
    if isinstance(error, wfe.Skip):
        return {"state": "skipped", "message": str(error)}
    kind = type(error)
    message = _text_of(error)
    if isinstance(error, ValueRefused):
        return {"state": "raised", "kind": "output", "message": message, "traceback": "", "bases": []}
    if isinstance(error, SystemExit):
        message = f"the function called sys.exit({error.code!r}); raise an exception instead"
    bases = [base.__name__ for base in kind.__mro__ if base is not object]
    if isinstance(error, wfe.Refuse):
        return {"state": "raised", "kind": "refused", "message": message, "traceback": "", "bases": bases}
    return {
        "state": "raised",
        "kind": "environment" if isinstance(error, OSError) and error.errno in FULL else kind.__name__,
        "message": message,
        "traceback": _traceback_of(error, message),
        "bases": bases,
    }


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 __str__ is the node's code: it may raise anything
        return f"(its text cannot be had: {type(second).__name__} in {type(error).__name__}.__str__)"


def _traceback_of(error: BaseException, message: str) -> str:
    """The formatted traceback with the frames of the node and what it called, none of ours before them."""
    import linecache
    import traceback

    linecache.checkcache()
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_OURS):
        frame = frame.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frame))
    except BaseException:  # noqa: BLE001 again __str__, of this error or of one in its chain
        return "".join(traceback.format_tb(frame)) + f"{type(error).__name__}: {message}\n"


def _native_flush() -> Any:
    """fflush(NULL) of the C library, in whose buffers lies what C code printed; None where it cannot be had."""
    try:
        import ctypes

        return (ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)).fflush
    except (ImportError, OSError, AttributeError):
        return None


def _dismissed(life: int) -> bool:
    """Whether the engine has let this worker go, and is not gone itself: waits until it is the one or the other."""
    if sys.platform == "win32":
        return True  # `_watch` reads there, and sees to the rest
    with suppress(OSError):
        return DISMISSED in os.read(life, 4096)
    return True


def _watch(life: int, will: Will) -> None:
    """Wait until the engine is gone (its end of this pipe closes, kill -9 included), then end everything. What it writes there is
    for `Worker.stopping` and `_dismissed`."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(life, 0)
        while not poll.poll():
            pass
    else:
        with suppress(OSError):
            while os.read(life, 1):
                pass
    try:
        will.execute()
    finally:  # whatever the node has made of this process: it must end
        if sys.platform != "win32":
            import signal

            for pid in children() or ():
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _cut_off(ends: list[int]) -> None:
    """In a forked child: it must neither hold the pipes open nor write into what gets their numbers next."""
    wfe._emit = None
    for number in ends:
        os.close(number)


def main(ends: list[int], folders: list[str]) -> None:
    """Serve calls on `ends`: descriptors (Windows: handles) to read requests from, write replies to, and watch.

    folders: lead the import path, in this order.
    """
    sys.path[:0] = folders
    if sys.platform == "win32":
        import msvcrt

        ends = [msvcrt.open_osfhandle(handle, os.O_RDONLY if place != 1 else 0) for place, handle in enumerate(ends)]
    requests, replies, life = ends
    for number in ends:
        os.set_inheritable(number, False)
    if hasattr(os, "register_at_fork"):
        # A forked child that stays must not hold the pipes open: their end is how the engine learns of a death.
        os.register_at_fork(after_in_child=lambda: _cut_off(ends))
    sys.stdout = stream_to(1, "strict")
    sys.stderr = stream_to(2, "backslashreplace")
    sys.argv = [""]
    import faulthandler

    faulthandler.enable(2)
    worker = Worker(frames.Channel(requests, replies), life)
    start_new_thread(_watch, (life, worker.sender.will))
    frames.write_all(replies, frames.pack(frames.READY, {"python": sys.version.split()[0], "pid": os.getpid()}))
    # After the first frame: importing ctypes takes 2 to 10 ms that the engine need not wait for.
    adopt_orphans()
    with suppress(frames.Closed, BrokenPipeError):
        worker.serve()
    if not _dismissed(life):
        worker.sender.will.execute()
    if worker.native_flush is not None:
        worker.native_flush(None)
    leave(0)
