"""One worker process: started, spoken with, ended.

Knows pipes, the worker's bootstrap and what its death means. Does not know which call goes to which worker: that is
`engine/workers.py`. On POSIX the calling thread polls the reply pipe and the two that carry what is printed; Windows
cannot poll pipes, so three threads read them there and the worker marks the end of a call in its streams.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import wfe
from wfe.engine.epitaph import ending, own_words, slain
from wfe.engine.executor import Died, Emit
from wfe.engine.printed import LOG_LIMIT, Printed
from wfe.engine.tree import MARK, Tree
from wfe.errors import EnvironmentFailure
from wfe.wire import frames
from wfe.worker import DISMISSED, END_OF_CALL

BOOT = Path(wfe.__file__).parent / "wire" / "boot.py"
# Milliseconds after which a silent wait looks whether the worker lives. Its death closes the pipes, except when
# something that it forked without Python's knowledge holds them open.
LOOK = 1000
# Milliseconds of a call after which the engine has time for what can wait. Of steps of 20 ms the commits, one for each, took a
# fiftieth where all processors are busy.
SILENCE = 50
# Seconds for which that answer is looked for before the engine sleeps: a worker that sleeps itself must be woken first.
KEEN = 3 * frames.KEEN
_GLANCE = 0.01  # seconds
_WAKE = 0.002  # seconds, for a call that is over any moment


class Gone(Exception):
    """The worker ended before it replied; `died` says how."""

    def __init__(self, died: Died, started: bool) -> None:
        self.died = died
        self.started = started
        super().__init__(died.message)


class Child:
    """A worker process of the interpreter `python`; ready to be sent a call at once, since it reads when it is up.

    folders: lead its import path. environ: its whole environment. cwd: where it stands at each call's start.
    log_limit: bytes. threaded: read the pipes with threads, as must be on Windows.
    Raises EnvironmentFailure when the interpreter cannot be started.
    """

    def __init__(
        self,
        python: str,
        cwd: str,
        environ: Mapping[str, str],
        folders: Sequence[str] = (),
        log_limit: int = LOG_LIMIT,
        threaded: bool = os.name == "nt",
    ) -> None:
        self.python = python
        self.threaded = threaded
        self.log_limit = log_limit
        self.ready = False
        self.ended = False
        self._ending = threading.Lock()  # the number of a closed pipe is soon another file's
        self._dismissed = False
        self.keen = frames.KEEN  # seconds for which it looks for the next call after a short one
        # Of each call that was sent and that nobody has asked for yet: when (monotonic seconds), and its bytes; none of one
        # before which the worker was gone.
        self._sent: deque[tuple[float, int]] = deque()
        self._answered = 0.0  # when the last reply came
        self.calls = 0
        self.tells_printed = False  # whether a reply says if the call has printed something
        self._soon = False  # whether the answer to the next call is likely to come soon
        self._marked = 0
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for place in range(3):
                reader, writer = os.pipe()
                theirs.append(reader if place != 1 else writer)
                ours.append(writer if place != 1 else reader)
            self._start(python, cwd, environ, folders, theirs)
        except BaseException:
            for number in ours:
                os.close(number)
            raise
        finally:
            for number in theirs:
                os.close(number)
        requests, replies, self._life = ours
        self._room = _room(requests)
        self.channel = frames.Channel(replies, requests)
        assert self.process.stdout is not None and self.process.stderr is not None
        self._streams = {self.process.stdout.fileno(): "stdout", self.process.stderr.fileno(): "stderr"}
        if threaded:
            self._pieces: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
            self._held: dict[str, bytes] = {}
            for number, name in {replies: "reply", **self._streams}.items():
                threading.Thread(target=self._pump, args=(number, name), daemon=True).start()
        else:
            for number in self._streams:
                os.set_blocking(number, False)
            self._poll = select.poll()
            for number in (replies, *self._streams):
                self._poll.register(number, select.POLLIN)

    def _start(
        self, python: str, cwd: str, environ: Mapping[str, str], folders: Sequence[str], ends: list[int]
    ) -> None:
        mark = uuid.uuid4().hex
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            import msvcrt

            handles = [msvcrt.get_osfhandle(number) for number in ends]
            for handle in handles:
                os.set_handle_inheritable(handle, True)
            startup = subprocess.STARTUPINFO()
            startup.lpAttributeList = {"handle_list": handles}
            # A group of its own: a Ctrl-C in the console is the engine's to decide on.
            options = {"startupinfo": startup, "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
            ends = handles
        else:
            options = {"pass_fds": ends, "start_new_session": True}
        try:
            self.process = subprocess.Popen(
                [python, "-I", "-X", "utf8", str(BOOT), *map(str, ends), *folders],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=cwd,
                env={**environ, MARK: mark},
                **options,
            )
        except OSError as error:
            where = f" in the folder {cwd!r}" if error.filename == cwd else ""
            text = f"the interpreter {python!r} cannot be started{where}: {error.strerror or error}"
            raise EnvironmentFailure(text, hint="make its environment anew: `wfe env sync`") from error
        self.tree = Tree(self.process, mark)

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return not self.ended and self.process.poll() is None

    def begin(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Send calls at once; `ask` with the same message then only waits, and tells when the worker was gone. How many: of
        those that go behind a running one only what the pipe surely takes. To wait for room would be to wait for a worker that
        may itself be waiting for its reply to be read."""
        if self.calls and not self._sent and not messages[0]["behind"] and (self.threaded or self._poll.poll(0)):
            with contextlib.suppress(OSError):
                self._drain(None)  # what a thread or a process that the call before left has printed since
        self._marked = 0
        packed = [self._pack(one) for one in messages]
        if messages[0]["behind"]:
            packed = self._fitting(packed)
        self.calls += len(packed)
        now = monotonic()
        try:
            self.channel.send(b"".join(packed))
        except OSError:
            packed = [b""] * len(packed)
        self._sent.extend((now, len(frame)) for frame in packed)
        return len(packed)

    def _pack(self, message: Mapping[str, Any]) -> bytes:
        whole = {**message, "marks": self.threaded, "keen": self.keen}
        said, tail = whole.pop("said", ""), whole.pop("tail", "")
        if not said:
            return frames.pack(frames.CALL, whole, tail=tail)
        del whole["inputs"]
        return frames.pack(frames.CALL, whole, f'"inputs":{said}', tail)

    def _fitting(self, packed: Sequence[bytes]) -> list[bytes]:
        room = self._room - sum(size for _, size in self._sent)
        found = []
        for frame in packed:
            room -= len(frame)
            if room < 0:
                break
            found.append(frame)
        return found

    def skip(self, count: int) -> bool:
        """Take the replies to calls that were sent and that the worker did not begin; whether it is still there."""
        self._sent.clear()
        try:
            while count:
                while (frame := self.channel.take()) is not None:
                    count -= frame[0] == frames.REPLY
                if count:
                    self._wait(None, None)
        except (frames.Closed, frames.FrameError):
            return False
        return True

    def ask(
        self, message: Mapping[str, Any], emit: Emit, log: str, timeout: float | None, lasts: float = 0.0
    ) -> dict[str, Any]:
        """Send a call and wait for its reply. Raises Gone when the worker ended before it, or was ended at its timeout.

        log, lasts: as in Call. timeout: seconds. Raises EnvironmentFailure when the worker never came up.
        """
        begun = max(self._sent[0][0], self._answered) if self._sent else monotonic()
        printed = Printed(log, emit, self.log_limit)
        timer = None
        try:
            if timeout is not None and self.threaded:
                timer = threading.Timer(timeout, self.kill)
                timer.daemon = True
                timer.start()
            soonest = 0.0
            if self._sent:
                # The reply to a call that was sent earlier may have come in time, while nobody waited for it.
                soonest = monotonic() + _GLANCE
            else:
                self.begin([message])
            if not self._sent.popleft()[1]:
                raise BrokenPipeError
            deadline = None if timeout is None else max(begun + timeout, soonest)
            return self._converse(emit, printed, deadline, begun + lasts if lasts else 0.0)
        except (TimeoutError, BrokenPipeError, frames.Closed, frames.FrameError) as error:
            seconds = monotonic() - begun
            self.kill()
            with contextlib.suppress(OSError):
                self._drain(printed)
            if isinstance(error, TimeoutError) or (timeout is not None and seconds >= timeout):
                text = (
                    f"the call took longer than its timeout of {timeout:g} s; it was ended with all that it had started"
                )
                raise Gone(Died("timeout", text, seconds), True) from None
            died = self._epitaph(printed.tail, error, seconds)
            raise Gone(died, not isinstance(error, BrokenPipeError) and self._read_all()) from None
        except BaseException:
            # A listener's own error, or Ctrl-C in the calling thread: the reply would be taken for the next call's.
            self.kill()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            printed.close()

    def _converse(self, emit: Emit, printed: Printed, deadline: float | None, ends: float) -> dict[str, Any]:
        """ends: when the reply is likely to come, 0 when that is not known."""
        emit("sent", {})
        if self._soon and not self.channel.has_frame():
            self.channel.look(KEEN)
        elif ends and self.keen > frames.KEEN and not self.threaded:
            # There is a processor to spare. To be woken from a sleep of 20 ms takes 0.3 ms on a virtual machine.
            left = int((ends - monotonic()) * 1000)  # whole milliseconds: up to one of them awake
            if left <= 0 or not self._poll.poll(left):
                self.channel.look(_WAKE)
        since, rest = monotonic(), SILENCE
        while True:
            while (frame := self.channel.take()) is not None:
                kind, content = frame
                if kind == frames.EVENT:
                    emit(content[0], content[1])
                elif kind == frames.READY:
                    self.ready = True
                elif kind == frames.REPLY:
                    reply: dict[str, Any] = content
                    # What was printed before the reply was sent is there by now. Asked only now: the reply may have come
                    # after the look at all pipes that led to reading it. Where the worker says that there is nothing, what
                    # is there is the next call's.
                    told = reply.get("printed")
                    self.tells_printed = told is not None
                    if told or (told is None and (self.threaded or self._poll.poll(0))):
                        self._drain(printed)
                    self._soon = reply.get("seconds", 1.0) < frames.SOON
                    self._answered = monotonic()
                    reply["at"] = self.channel.read_at
                    return reply
            self._wait(printed, deadline, rest)
            if monotonic() - since >= rest / 1000:
                since, rest = monotonic(), LOOK
                emit("waits", {})

    def _wait(self, printed: Printed | None, deadline: float | None, rest: int = LOOK) -> None:
        """Wait for bytes from the worker, `rest` milliseconds at the most, and take them. Raises TimeoutError at the deadline,
        frames.Closed at its end."""
        if deadline is not None:
            rest = min(rest, int((deadline - monotonic()) * 1000) + 1)
            if rest <= 0:
                raise TimeoutError
        if self.threaded:
            self._wait_queue(printed, rest / 1000)
            return
        found = [number for number, _ in self._poll.poll(rest)]
        if self.channel.reader in found:
            # Alone: with a reply there, what was printed may be the next call's.
            if not self.channel.feed():
                raise self.channel.end()
            return
        for number in found:
            self._read(number, printed)
        if not found and not self._running():
            raise frames.Closed("the worker is gone")

    def _running(self) -> bool:
        """Whether the process runs, without reaping it: until then its number is its own, so its tree can be killed."""
        if sys.platform == "win32" or not hasattr(os, "waitid"):
            return self.process.poll() is None
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def _read_all(self) -> bool:
        """Whether the dead worker had read all of the call that was asked for. One that was killed while it was idle has left
        at least the frame's body in the pipe, beside those of calls that were sent behind it. True where the system cannot
        tell.
        """
        if sys.platform == "win32":
            return True
        import fcntl
        import termios

        try:
            left = fcntl.ioctl(self.channel.writer, termios.FIONREAD, b"\0\0\0\0")
        except OSError:  # asked at the writing end, which not every system answers
            return True
        return int.from_bytes(left, sys.byteorder) <= sum(size for _, size in self._sent)

    def _read(self, number: int, printed: Printed | None) -> bool:
        try:
            piece = os.read(number, frames.PIECE)
        except BlockingIOError:
            return False
        if not piece:
            self._poll.unregister(number)
            self._streams.pop(number)
            return False
        if printed is not None:
            printed.add(self._streams[number], piece)
        return True

    def _drain(self, printed: Printed | None) -> None:
        """Take what stands in the pipes of stdout and stderr; bounded, since a stray process may still be printing."""
        if self.threaded:
            self._drain_queue(printed)
            return
        for number in list(self._streams):
            for _ in range(64):
                if not self._read(number, printed):
                    break

    # -- systems on which a pipe cannot be polled

    def _pump(self, number: int, name: str) -> None:
        while True:
            try:
                piece = os.read(number, 65536)
            except OSError:
                piece = b""
            self._pieces.put((name, piece))
            if not piece:
                return

    def _wait_queue(self, printed: Printed | None, seconds: float) -> None:
        try:
            name, piece = self._pieces.get(timeout=seconds)
        except queue.Empty:
            if self.process.poll() is not None:
                raise frames.Closed("the worker is gone") from None
            return
        if name == "reply":
            if not self.channel.put(piece):
                raise self.channel.end()
            return
        found = self._held.pop(name, b"") + piece
        self._marked += found.count(END_OF_CALL)
        found = found.replace(END_OF_CALL, b"")
        cut = max((size for size in range(1, len(END_OF_CALL)) if found.endswith(END_OF_CALL[:size])), default=0)
        if cut and piece:
            self._held[name] = found[-cut:]
            found = found[:-cut]
        if printed is not None and found:
            printed.add(name, found)

    def _drain_queue(self, printed: Printed | None) -> None:
        """Take what the streams bring until the marks of the call's end; before a call, only what is there."""
        end = monotonic() + 1.0
        while not self._pieces.empty() or (printed is not None and self._marked < 2 and monotonic() < end):
            with contextlib.suppress(frames.Closed, frames.FrameError):
                self._wait_queue(printed, 0.05)
            if self.process.poll() is not None and self._pieces.empty():
                return

    # -- the end

    def _epitaph(self, tail: bytes, error: Exception, seconds: float) -> Died:
        """How the worker ended. Raises EnvironmentFailure when it never came up by itself. One that was killed before its first
        reply may well have: what it said then was not read."""
        words = own_words(tail.decode("utf-8", "replace"))
        how = ending(self.process.returncode)
        if not self.ready and not slain(self.process.returncode):
            said = f"; it said:\n{words}" if words else ""
            text = f"the worker of {self.python!r} did not start: {how}{said}"
            raise EnvironmentFailure(text, hint="see whether this interpreter runs, and make its environment anew")
        message = f"the process of the step was {how}"
        if isinstance(error, frames.FrameError):
            message = f"the process of the step was ended, since it broke the connection to the engine ({error})"
        if words:
            message += f"; the end of its stderr:\n{words}"
        return Died("died", message, seconds)

    def hold(self) -> None:
        """Have it begin nothing that was sent behind the running call, from now on. Callable from any thread."""
        with self._ending, contextlib.suppress(OSError):
            if not self.ended:
                os.write(self._life, b"h")

    def kill(self) -> None:
        """Kill it and all that it started. Idempotent, callable from any thread."""
        self.tree.kill()

    def dismiss(self) -> None:
        """Let it end when it has nothing to do. Idempotent."""
        if not self._dismissed:
            self._dismissed = True
            with contextlib.suppress(OSError):
                os.write(self._life, DISMISSED)
            os.close(self.channel.writer)

    def close(self, grace: float = 2.0) -> None:
        """Ask it to end, kill the tree after `grace` seconds, and close the pipes. Only when no call is in flight."""
        with self._ending:
            if self.ended:
                return
            self.ended = True
        self.dismiss()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self.kill()
        os.close(self._life)
        os.close(self.channel.reader)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def _room(pipe: int) -> int:
    """Bytes that fit into an empty pipe whatever their pieces: a piece may begin a page of its own."""
    if sys.platform != "linux":
        return 0
    import fcntl

    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) // 2
