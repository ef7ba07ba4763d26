"""The first program inside a sandbox: takes the last rights away from itself, then becomes the program it was given.

Run as a file, by any interpreter, with one argument: a JSON object (see `sandbox.order`). Whatever cannot be applied
ends it with exit code 125 and one line on stderr: the foreign program never starts with less than was asked.

Between the start and the exec no foreign code runs; so nothing here is done in the engine's process after a fork, where
threads make Python unsafe.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

REFUSED = 125
_PR_CAPBSET_DROP = 24


def main(text: str) -> None:
    order: dict[str, Any] = json.loads(text)
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        become(order)
    except (OSError, ValueError) as error:
        if order.get("status") is not None:
            os.write(order["status"], b"0")
        print(f"wfe sandbox: {error}", file=sys.stderr, flush=True)
        raise SystemExit(REFUSED) from error


def become(order: dict[str, Any]) -> None:
    """Apply `order` to this process and exec its program. Returns never; raises OSError when a part is refused."""
    import landlock  # type: ignore[import-not-found]  # a neighbour: wfe is no package in the sandbox
    import seccomp  # type: ignore[import-not-found]

    if os.getpid() != os.getsid(0):
        # Away from the terminal of whoever started us; the leader of a group stays one, and its group is its own
        # already.
        with contextlib.suppress(PermissionError):
            os.setsid()
    status = order.get("status")
    _close_others({*order["descriptors"], *([] if status is None else [status])})
    for directory in order["make"]:
        os.makedirs(directory, exist_ok=True)
    os.chdir(order["directory"])
    if order["relay"]:
        _start_relay(order["relay"]["socket"], order["relay"]["port"])
    for name, limit in order["limits"].items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(
            kind, (limit, limit + 1 if name == "RLIMIT_CPU" and hard == resource.RLIM_INFINITY else limit)
        )
    filter_program = seccomp.program(network=bool(order["relay"]), alone=order["landlock"] is not None, pid=os.getpid())
    if order["landlock"] is not None:
        rights = {"read": landlock.READ, "list": landlock.LIST, "write": landlock.WRITE, "device": landlock.DEVICE}
        _drop_capabilities()
        landlock.restrict((path, rights[kind]) for path, kind in order["landlock"])
    seccomp.install(filter_program)
    if status is not None:
        os.set_inheritable(status, False)  # gone with the exec
        os.write(status, b"1")
    os.execve(order["command"][0], order["command"], order["environ"])


def _close_others(kept: set[int]) -> None:
    low = 3
    for descriptor in [*sorted(number for number in kept if number > 2), 1 << 20]:
        os.closerange(low, descriptor)
        low = descriptor + 1


def _drop_capabilities() -> None:
    """Without this, root could raise its limits again. An ordinary user has none: the calls fail and change nothing."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0:
        return
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _start_relay(socket: str, port: int) -> None:
    """A process beside the program that carries 127.0.0.1:port to the gateway's socket; it dies with the namespace."""
    import relay  # type: ignore[import-not-found]

    server = relay.listen(port)
    if os.fork() == 0:
        try:
            # A Unix socket's path holds 107 bytes; a deep temporary directory is longer, the name in it is not.
            folder, name = os.path.split(socket)
            os.chdir(folder)
            relay.serve(server, name)
        finally:
            os._exit(0)
    server.close()


if __name__ == "__main__":
    main(sys.argv[1])
