"""Nodes that lie to the engine: forged replies, links in the place of outputs, messages without end."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wfe.agent.confined import Confined
from wfe.agent.sandbox import Sandbox
from wfe.agent.spec import Permissions
from wfe.agent.staged import Bounds, clear
from wfe.engine.executor import Call, Died, Raised, Reply, Returned
from wfe.engine.hole import Hole

HEAD = '''import json, os, pickle, struct
from pathlib import Path
from wfe import Output, workflow_node


def held(known=[]):
    """Its descriptors but the first three; their numbers are those of the engine, which may have many open."""
    if not known:
        for number in range(3, 4096):
            try:
                os.fstat(number)
                known.append(number)
            except OSError:
                pass
    return known


def forge(kind, message, length=None):
    """A frame on whatever descriptor takes it: the one that replies go to is among them."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    for number in held():
        try:
            os.write(number, struct.pack("!2sBBQ", b"wf", 1, kind, length or len(body)) + body)
        except OSError:
            pass


'''
BOUNDS = Bounds(size=8 << 20, entries=500, threads=64)
Try = Callable[..., Reply]


@pytest.fixture
def attempt(box: Sandbox, tmp_path: Path) -> Try:
    """Call a node with the given body in a sandbox; the path of a private file is its input `secret`."""
    staging = tmp_path / "staging"
    staging.mkdir()
    (tmp_path / "secret").write_text("CANARY")
    module = tmp_path / "project" / "nodes" / "liar.py"
    module.parent.mkdir(parents=True)

    def call(body: str) -> Reply:
        text = "\n".join("    " + line for line in body.splitlines())
        module.write_text(f"{HEAD}@workflow_node()\ndef liar(secret: str, target: Output):\n{text}\n")
        confined = Confined(tmp_path / "project", box, lambda call: Permissions(), bounds=BOUNDS)
        inputs = {"secret": str(tmp_path / "secret"), "target": None}
        hole = Hole(("target",), "output", str(staging / "out.txt"))
        wanted = Call(
            step="liar",
            module="nodes.liar",
            function="liar",
            root=str(tmp_path / "project"),
            inputs=inputs,
            holes=(hole,),
            staging=str(staging),
            log=str(tmp_path / "log"),
        )
        try:
            return confined.call(wanted, lambda kind, what: None)
        finally:
            confined.close()
            assert (tmp_path / "secret").read_text() == "CANARY"

    return call


def test_an_honest_one_is_heard(attempt: Try) -> None:
    reply = attempt("target.write_text('made')\nreturn {'n': 1}")
    assert isinstance(reply, Returned) and reply.value == {"n": 1}


@pytest.mark.parametrize(
    "holes",
    [
        "[[['a'], 'file', secret]]",
        "[[['a'], 'file', str(target.parent / '..' / 'secret')]]",
        "[[['a'], 'pickle', str(target)]]",
        "[[['a'], 'path', str(target)]]",
        "[[['a'], 'shm', '/dev/shm/x']]",
        "[['a', 'file', str(target)]]",
        "'all'",
        "[[['b'], 'file', str(target)]]",
        "[[['a', 0], 'file', str(target)]]",
        "[[['a'], 'file', str(target.parent / 'other')]]",
        "[[['a'], 'file', str(target)]] * 2",
    ],
)
def test_a_forged_reply_is_not_believed(attempt: Try, holes: str) -> None:
    body = f"forge(3, {{'state': 'returned', 'seconds': 0.1, 'value': {{'a': None}}, 'holes': {holes}}})\nos._exit(0)"
    reply = attempt(body)
    assert isinstance(reply, Died) and reply.kind == "died"


@pytest.mark.parametrize(
    "message",
    [
        {"state": "stale", "seconds": 0.1},
        {"state": "returned", "seconds": "soon", "value": 1, "holes": []},
        {"state": "returned", "seconds": 0.1, "holes": []},
        {"state": "raised", "seconds": 0.1, "kind": 3, "message": "", "traceback": "", "bases": []},
        {"state": "returned", "seconds": 0.1, "value": 1, "holes": [], "kept": ["/etc/passwd"]},
        [],
        None,
        {"state": "returned", "seconds": 0.1, "value": json.loads("[" * 300 + "]" * 300), "holes": []},
    ],
)
def test_a_reply_of_the_wrong_form_is_a_death(attempt: Try, message: Any) -> None:
    reply = attempt(f"forge(3, json.loads({json.dumps(json.dumps(message))}))\nos._exit(0)")
    assert isinstance(reply, Died)


@pytest.mark.parametrize("event", ["['progress', {'done': 'all'}]", "['note', {'message': 3}]", "['line', {}]", "7"])
def test_an_event_of_the_wrong_form_is_a_death(attempt: Try, event: str) -> None:
    assert isinstance(attempt(f"forge(4, {event})\nreturn {{}}"), Died)


def test_a_message_without_end_does_not_fill_the_engine(attempt: Try) -> None:
    body = "piece = b'[' * 65536\nforge(3, piece, 1 << 50)\nwhile True:\n    for n in held():\n"
    body += "        try: os.write(n, piece)\n        except OSError: pass"
    assert isinstance(attempt(body), Died)


def test_events_without_end_do_not_fill_the_record(attempt: Try) -> None:
    reply = attempt("for n in range(10_000): forge(4, ['note', {'message': 'x' * 60_000}])\nreturn {}")
    assert isinstance(reply, Died) and "bytes of events" in reply.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os.symlink(secret, target)\nreturn {}", "not a plain file"),
        ("target.write_text('x')\nos.symlink(secret, target.parent / 'other')\nreturn {}", "not a plain file"),
        ("os.mkfifo(target)\nreturn {}", "not a plain file"),
        ("target.mkdir()\nos.symlink('/', target / 'all')\nreturn {}", "not a plain file"),
        ("target.write_text('x')\nos.link(target, target.parent / 'again')\nreturn {}", "not a file with one name"),
        ("for n in range(40):\n    os.mkdir('d')\n    os.chdir('d')\nreturn {}", "nested more than 32 levels"),
        ("for n in range(600):\n    (target.parent / str(n)).touch()\nreturn {}", "more than 500 files"),
        ("target.write_bytes(bytes(9 << 20))\nreturn {}", "more than 8 MB of files"),
    ],
    ids=["link", "link beside", "pipe", "link below", "second name", "deep", "many", "large"],
)
def test_only_few_plain_files_are_left(attempt: Try, tmp_path: Path, body: str, said: str) -> None:
    reply = attempt(body)
    assert isinstance(reply, Raised) and reply.kind == "output", reply
    assert said in reply.message
    assert list((tmp_path / "staging").iterdir()) == []  # nothing is left for the next call


def test_what_was_left_when_it_died_is_looked_at_too(attempt: Try, tmp_path: Path) -> None:
    reply = attempt("for n in range(100):\n    os.mkdir('d', 0o700)\n    os.chdir('d')\nos._exit(1)")
    assert isinstance(reply, Raised) and "nested" in reply.message
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        "while True: target.write_bytes(bytes(9 << 20))",
        "import threading\nfor n in range(100): threading.Thread(target=threading.Event().wait).start()\nwhile True: pass",
    ],
    ids=["files", "threads"],
)
def test_what_no_limit_of_the_kernel_bounds_is_watched(attempt: Try, body: str) -> None:
    reply = attempt(body)
    assert isinstance(reply, Raised) and reply.kind == "output"
    assert "more than 8 MB" in reply.message or "more than 64 threads" in reply.message


NPY = "b'\\x93NUMPY\\x01\\x00' + struct.pack('<H', {length}) + {header}"


@pytest.mark.parametrize(
    "content",
    [
        "b'no array'",
        NPY.format(length=60000, header="b'(' * 60000"),
        NPY.format(length=60, header="b\"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}     \\n\""),
        NPY.format(length=70, header="b\"{'descr': '<f8', 'fortran_order': False, 'shape': (1 << 50,)}        \\n\""),
        "b''",
    ],
    ids=["no array", "a header of brackets", "objects", "an expression", "nothing"],
)
def test_a_file_that_is_no_array_is_not_taken_for_one(attempt: Try, content: str) -> None:
    body = f"target.write_bytes({content})\n"
    body += "forge(3, {'state': 'returned', 'seconds': 0.1, 'value': {'a': None}, "
    body += "'holes': [[['a'], 'npy', str(target)]]})\nos._exit(0)"
    reply = attempt(body)
    assert isinstance(reply, Raised) and "which cannot be read" in reply.message, reply


def test_arrays_go_in_and_come_out_of_memory(box: Sandbox, tmp_path: Path) -> None:
    module = tmp_path / "nodes" / "twice.py"
    module.parent.mkdir()
    module.write_text(
        "from wfe import workflow_node\n\n\n@workflow_node()\ndef twice(x):\n    return {'y': x * 2, 'n': 1}\n"
    )
    confined = Confined(tmp_path, box, lambda call: Permissions())
    call = Call("s", "nodes.twice", "twice", str(tmp_path), {"x": None}, arrays={("x",): np.arange(3)})
    reply = confined.call(call, lambda kind, what: None)
    assert isinstance(reply, Returned), reply
    assert reply.whole()["y"].tolist() == [0, 2, 4] and not reply.whole()["y"].flags.writeable
    confined.cancel()
    assert confined.call(call, lambda kind, what: None) == Died(
        "cancelled", "the run was cancelled before the call began"
    )


def test_a_cancel_ends_a_call_that_runs(box: Sandbox, tmp_path: Path) -> None:
    module = tmp_path / "nodes" / "wait.py"
    module.parent.mkdir()
    module.write_text("import wfe\n\n\n@wfe.workflow_node()\ndef wait():\n    wfe.log('here')\n    while True: pass\n")
    confined = Confined(tmp_path, box, lambda call: Permissions())
    call = Call("s", "nodes.wait", "wait", str(tmp_path), {})
    reply = confined.call(call, lambda kind, what: confined.cancel())
    assert isinstance(reply, Died) and reply.kind == "cancelled"


def test_an_array_of_no_elements_is_an_array(attempt: Try) -> None:
    reply = attempt(
        "import numpy\ntarget.touch()\nreturn {'a': numpy.zeros((0, 3)), 'b': numpy.float32(1), 'c': numpy.arange(2)}"
    )
    assert isinstance(reply, Returned), reply


def test_a_tree_is_cleared_however_deep_and_of_whatever_rights(tmp_path: Path) -> None:
    held = os.open(tmp_path, os.O_RDONLY)
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(120):
        os.mkdir("d", dir_fd=place)
        deeper = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = deeper
    os.close(place)
    os.close(held)
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut" / "file").touch()
    (tmp_path / "shut").chmod(0)
    (tmp_path / "link").symlink_to("/usr")
    os.mkfifo(tmp_path / "pipe")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        clear(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert list(tmp_path.iterdir()) == [] and Path("/usr").is_dir()
