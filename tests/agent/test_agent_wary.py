"""Nodes that lie to the engine: forged replies, links in the place of outputs, messages without end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wfe.agent.confined import Confined
from wfe.agent.sandbox import Sandbox
from wfe.agent.spec import Permissions
from wfe.engine.executor import Call, Died, Raised, Reply, Returned
from wfe.engine.hole import Hole

HEAD = '''import json, os, pickle, struct
from pathlib import Path
from wfe import Output, workflow_node


def forge(kind, message, length=None):
    """A frame on whatever descriptor takes it: the one that replies go to is among them."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    for number in range(3, 64):
        try:
            os.write(number, struct.pack("!2sBBQ", b"wf", 1, kind, length or len(body)) + body)
        except OSError:
            pass


'''
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
        confined = Confined(tmp_path / "project", box, lambda call: Permissions())
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
    ],
)
def test_a_reply_of_the_wrong_form_is_a_death(attempt: Try, message: Any) -> None:
    reply = attempt(f"forge(3, json.loads({json.dumps(json.dumps(message))}))\nos._exit(0)")
    assert isinstance(reply, Died)


@pytest.mark.parametrize("event", ["['progress', {'done': 'all'}]", "['note', {'message': 3}]", "['line', {}]", "7"])
def test_an_event_of_the_wrong_form_is_a_death(attempt: Try, event: str) -> None:
    assert isinstance(attempt(f"forge(4, {event})\nreturn {{}}"), Died)


def test_a_message_without_end_does_not_fill_the_engine(attempt: Try) -> None:
    body = "piece = b'[' * 65536\nforge(3, piece, 1 << 50)\nwhile True:\n    for n in range(3, 64):\n"
    body += "        try: os.write(n, piece)\n        except OSError: pass"
    assert isinstance(attempt(body), Died)


@pytest.mark.parametrize(
    "body",
    [
        "os.symlink(secret, target)\nreturn {}",
        "target.write_text('x')\nos.symlink(secret, target.parent / 'other')\nreturn {}",
        "os.mkfifo(target)\nreturn {}",
        "target.mkdir()\nos.symlink('/', target / 'all')\nreturn {}",
    ],
)
def test_only_plain_files_are_left(attempt: Try, body: str) -> None:
    reply = attempt(body)
    assert isinstance(reply, Raised) and reply.kind == "output"
    assert "no plain file" in reply.message or "output" in reply.message


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
