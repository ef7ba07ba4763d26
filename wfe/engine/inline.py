"""The executor for a debugger: calls node functions in the engine's own process.

Knows how to do in here what a worker does, as far as one process can: inputs, results, errors, logs and the
surroundings are the same; a timeout cannot be kept, a crash takes the engine along, and processes that a node leaves
stay. Calls take turns, since the working directory and the environment belong to the whole process.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import wfe
from wfe.engine.executor import Call, Died, Emit, Raised, Reply, Returned, Skipped
from wfe.engine.hole import Hole
from wfe.engine.printed import Printed
from wfe.engine.workers import request
from wfe.wire.surroundings import Surroundings
from wfe.wire.values import Staging
from wfe.worker import Caller

# One for the process, not one for each run: runs in several threads would change the directory under each other.
_turn = threading.RLock()


class Inline:
    """Calls in this process. `debug` gets the exception of a failed call, with its traceback (pdb.post_mortem, say).

    What a node prints goes to its log and to this process's own stdout and stderr, so that a debugger can talk.
    """

    def __init__(self, debug: Callable[[BaseException], object] | None = None) -> None:
        self._debug = debug
        self._callers: dict[str, _Here] = {}
        self._cancelled = False
        self._ends = False  # whether the main thread was asked to end the call that it is in

    def call(self, call: Call, emit: Emit) -> Reply:
        """As in Executor. KeyboardInterrupt goes through, since it is this process's own."""
        with _turn:
            if self._cancelled:
                return Died("cancelled", "the run was cancelled before the call began")
            emit("waits", {})
            message = request(call)
            # By way of the text, so that the node gets a tree of its own and no type that would not survive the pipe.
            message["inputs"] = json.loads(json.dumps(message["inputs"]))
            caller = self._callers.get(call.root)
            if caller is None:
                caller = self._callers[call.root] = _Here(self._debug)
            with contextlib.chdir(call.root), _printing(call.log, emit):
                caller.surroundings = Surroundings()
                held, wfe._emit = wfe._emit, emit
                try:
                    return caller.reply(call, message)
                finally:
                    wfe._emit = held
                    caller.surroundings.close()

    def cancel(self) -> None:
        """Later calls are answered with Died("cancelled"). One that runs cannot be killed: in the main thread it is ended by a
        KeyboardInterrupt, in another it goes on."""
        self._cancelled = True
        if self._in_main() and threading.get_ident() != threading.main_thread().ident:
            self._ends = True
            if os.name == "nt":
                _thread.interrupt_main()
            else:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def interrupted(self) -> bool:
        """Asked by the handler of a signal: whether it comes from `cancel`, and a function is still running."""
        ends, self._ends = self._ends, False
        return ends and self._in_main()

    def _in_main(self) -> bool:
        return any(one.calling == threading.main_thread().ident for one in list(self._callers.values()))

    def close(self) -> None:
        """Forget what was imported from the roots, so that nothing of them stays in this process."""
        self._cancelled = True
        with _turn:
            for caller in self._callers.values():
                caller.forget()
            self._callers.clear()


class _Here(Caller):
    """The worker's way of calling, without what it does to its own process."""

    def __init__(self, debug: Callable[[BaseException], object] | None) -> None:
        super().__init__(Surroundings())
        self.surroundings.close()
        self.debug = debug
        self.given: dict[str, Any] = {}
        self.arrays: dict[str, Any] = {}
        self.calling: int | None = 0  # the thread in which a function is running

    def run(self, call: dict[str, Any], function: Any, begun: list[float]) -> dict[str, Any]:
        def told(**inputs: Any) -> Any:
            self.calling = threading.get_ident()
            try:
                return function(**inputs)
            finally:
                self.calling = 0

        return super().run(call, told, begun)

    def reply(self, call: Call, message: dict[str, Any]) -> Reply:
        self.arrays.clear()
        self.given = {}
        for trail, array in call.arrays.items():
            view = array.view()
            view.flags.writeable = False
            self.given[str(trail)] = view
            message["holes"].append([list(trail), "memory", str(trail)])
        answer = self.answer(message)
        if answer["state"] == "stale":
            self.forget()
            answer = self.answer(message)
        if answer.get("worn"):
            self.forget()
        seconds = answer["seconds"]
        if answer["state"] == "skipped":
            return Skipped(answer["message"], seconds)
        if answer["state"] == "raised":
            return Raised(answer["kind"], answer["message"], answer["traceback"], seconds, tuple(answer["bases"]))
        found = {tuple(trail): (codec, path) for trail, codec, path in answer["holes"]}
        holes = tuple(Hole(trail, codec, path) for trail, (codec, path) in found.items() if codec != "memory")
        arrays = {trail: self.arrays[path] for trail, (codec, path) in found.items() if codec == "memory"}
        return Returned(answer["value"], holes, seconds, arrays)

    def read(self, codec: str, path: str) -> Any:
        return self.given[path] if codec == "memory" else super().read(codec, path)

    def returned(self, value: Any, place: Any, outputs: list[str]) -> dict[str, Any]:
        reply = super().returned(value, place if isinstance(place, Staging) else self.keep, outputs)
        # As through the pipe: numbers that JSON changes are changed here too.
        reply["value"] = json.loads(json.dumps(reply["value"]))
        return reply

    def keep(self, codec: str, suffix: str, value: Any) -> tuple[str, str]:
        """Place of arrays when there is no staging: this process's memory, copied as it would be into a block."""
        del suffix
        if codec != "npy":
            raise TypeError("a call without a staging folder returns arrays and JSON values only")
        name = str(len(self.arrays))
        array = value.copy(order="K")
        array.flags.writeable = False
        self.arrays[name] = array
        return "memory", name

    def failed(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, KeyboardInterrupt):
            raise error
        if self.debug is not None and not isinstance(error, wfe.Skip):
            self.debug(error)
        return super().failed(error)

    def forget(self) -> None:
        """Drop the modules that were imported from the root, and the root from the import path."""
        if self.sources is None:
            return
        files = set(self.sources.texts)
        for name, module in list(sys.modules.items()):
            if getattr(module, "__file__", None) in files:
                del sys.modules[name]
        self.sources.remove()
        self.sources = None
        self.functions.clear()


@contextlib.contextmanager
def _printing(log: str, emit: Emit) -> Iterator[None]:
    """Copy what is printed to `log` and to `emit` as lines."""
    printed = Printed(log, emit)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Tee(before[0], "stdout", printed), _Tee(before[1], "stderr", printed))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        printed.close()


class _Tee:
    """A text stream that copies what is written to `printed`; all else is the stream's own."""

    def __init__(self, stream: TextIO, name: str, printed: Printed) -> None:
        self._stream = stream
        self._name = name
        self._printed = printed

    def write(self, text: str) -> int:
        self._printed.add(self._name, text.encode("utf-8", "backslashreplace"))
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
