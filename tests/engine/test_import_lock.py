"""A Ctrl-C in the middle of an import must not leave other threads waiting."""

from __future__ import annotations

import _imp
import subprocess
import sys
import threading

from wfe.engine.interrupt import settle

# Stops right behind the call that takes the lock, as an interrupt does that was pending then.
INTERRUPTED = """
import _imp, threading
from wfe.engine.interrupt import settle
_imp.acquire_lock()
settle()
thread = threading.Thread(target=lambda: __import__("colorsys"), daemon=True)
thread.start()
thread.join(60)
print(thread.is_alive())
"""


def test_other_threads_import_after_an_interrupt() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"


def test_the_lock_of_another_thread_is_left_alone() -> None:
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        _imp.acquire_lock()
        taken.set()
        done.wait()
        _imp.release_lock()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    settle()
    held = _imp.lock_held()
    done.set()
    thread.join()
    assert held
