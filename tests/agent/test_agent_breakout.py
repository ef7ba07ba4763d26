"""Generated nodes in real runs that try to get out: everything round them is compared with how it was before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from wfe.agent import approval, header
from wfe.agent.header import Origin
from wfe.agent.sandbox import Sandbox
from wfe.core.outcome import Outcome, StepState
from wfe.engine.project import Project
from wfe.front import perform

ORIGIN = Origin("m", "w", "s", "p", 0, ("parses",))
HEAD = """import glob, json, os, shutil
from pathlib import Path
from typing import Any

from wfe import Output, workflow_node

"""
ESCAPE = (
    HEAD
    + '''
def ways(root, secret, victim):
    """(what, call) of all that must not be possible."""
    record, own = root / ".wfe" / "approved.json", Path(__file__)
    mine = json.dumps({"trusted": {"nodes/custom/escape.py": "CANARY"}, "permitted": {}})
    yield "approval", lambda: record.write_text(mine)
    yield "approval beside", lambda: (record.parent / "new.json").write_text("CANARY")
    yield "approval replaced", lambda: os.replace(shutil.copy(own, "copy"), record)
    yield "approval by link", lambda: (os.symlink(record.parent, "way"), (Path("way") / "approved.json").write_text(mine))
    yield "approval removed", record.unlink
    yield "outline", lambda: (root / ".wfe" / "outlines" / "x.json").write_text("CANARY")
    yield "prompt", lambda: os.makedirs(root / ".wfe" / "prompts")
    for source in (own, root / "nodes" / "mine.py"):
        yield f"append {source.name}", lambda: source.open("a").write("CANARY")
        yield f"truncate {source.name}", lambda: os.truncate(source, 0)
        yield f"remove {source.name}", source.unlink
        yield f"rename {source.name}", lambda: os.rename(source, source.with_name("CANARY.py"))
        yield f"second name {source.name}", lambda: os.link(source, "CANARY.py")
    yield "new node", lambda: (own.parent / "evil.py").write_text("CANARY")
    yield "compiled", lambda: os.makedirs(own.parent / "__pycache__")
    yield "workflow", lambda: (root / "workflows" / "evil.json").write_text("CANARY")
    yield "dodo", lambda: (root / "dodo.py").open("a").write("CANARY")
    cache = root / "cache"
    yield "state", lambda: (cache / "state.db").open("r+b").write(b"CANARY")
    yield "journal", lambda: (cache / "state.db-wal").open("wb").write(b"CANARY")
    yield "no state", lambda: (cache / "state.db").unlink()
    yield "result", lambda: (cache / "steps" / "w" / "mine.json").write_text("CANARY")
    yield "claims", lambda: (cache / "claims.lock").open("r+b").write(b"CANARY")
    yield "new blob", lambda: (cache / "blobs" / "ab").mkdir() or (cache / "blobs" / "ab" / "CANARY").write_text("CANARY")
    yield "own input", lambda: Path(secret).open("a").write("CANARY")
    yield "own input's name", lambda: os.link(secret, "blob")
    yield "staging of others", lambda: (Path.cwd().parent / "CANARY").mkdir()
    yield "log", lambda: (cache / "logs" / "w" / "escape.log").write_text("CANARY")
    yield "record", lambda: (cache / "runs" / "CANARY.ndjson").write_text("CANARY")
    for process in ("1", str(os.getppid()), "self", "thread-self", str(victim)):
        yield f"root of {process}", lambda: Path(f"/proc/{process}/root{root}/dodo.py").open("a").write("CANARY")
        yield f"directory of {process}", lambda: Path(f"/proc/{process}/cwd/../../../dodo.py").open("a").write("CANARY")
    yield "words of another", lambda: Path(f"/proc/{victim}/cmdline").read_bytes() or 1 / 0
    yield "environment of another", lambda: Path(f"/proc/{victim}/environ").read_bytes() or 1 / 0
    yield "kill", lambda: os.kill(victim, 0)  # harmless where it works
    yield "kill all", lambda: os.kill(-1, 0)
    yield "memory", lambda: os.memfd_create("CANARY")


@workflow_node(outputs={"done": list, "open": list, "seen": str})
def escape(given: Path, root: str, victim: int, target: Output) -> dict[str, Any]:
    """What worked, which descriptors lead to something that is no pipe, what it saw in the environment."""
    target.write_text("made")
    done = []
    for name, call in ways(Path(root), given, victim):
        try:
            call()
            done.append(name)
        except BaseException:
            pass
    led = []
    for process in ("self", "1"):
        for path in glob.glob(f"/proc/{process}/fd/*"):
            try:
                led.append(os.readlink(path))
            except OSError:
                pass
    for name in glob.glob("*"):
        if os.path.islink(name) or (name != target.name and not os.path.isdir(name)):
            os.unlink(name)
    odd = [one for one in led if not one.startswith(("pipe:", "/dev/null", "anon_inode:[event")) and "/fd" not in one]
    return {"done": done, "open": odd, "seen": json.dumps(dict(os.environ)).replace(os.getcwd(), "(here)")}
'''
)
MINE = '''from wfe import Output, workflow_node


@workflow_node(outputs={"path": str})
def mine(target: Output) -> dict:
    """A file that the next step reads."""
    target.write_text("a result of a step before")
    return {"path": target}
'''


@pytest.fixture
def victim() -> Iterator[int]:
    """A program of the same user, with a secret in its environment and in its command line."""
    line = [sys.executable, "-c", "print(flush=True); input()", "CANARY-WORD"]
    environ = {**os.environ, "SECRET": "CANARY-VICTIM"}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield process.pid
        assert process.poll() is None
        process.communicate(b"\n")


@pytest.fixture
def project(tmp_path: Path, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose generated nodes are held by the sandbox `box`."""
    monkeypatch.delenv("WFE_UNSAFE", raising=False)
    monkeypatch.setenv("SECRET_TOKEN", "CANARY-TOKEN")
    monkeypatch.setattr("wfe.agent.sandbox.choose", lambda name="": box)
    root = tmp_path / "project"
    for folder in ("nodes/custom", "workflows", ".wfe/outlines"):
        (root / folder).mkdir(parents=True)
    (root / "dodo.py").write_text("# a person's\n")
    (root / "nodes" / "mine.py").write_text(MINE)
    other = root / "nodes" / "custom" / "other.py"
    other.write_text(header.write(ORIGIN, MINE.replace("def mine", "def other")))
    approval.approve(root, other)
    return root


def put(project: Path, name: str, text: str, *nodes: dict[str, Any]) -> None:
    (project / "nodes" / "custom" / f"{name}.py").write_text(header.write(ORIGIN, text))
    (project / "workflows" / "w.json").write_text(json.dumps({"workflow": {"name": "w"}, "nodes": nodes}))


def run(project: Path, *steps: str) -> Mapping[str, Outcome]:
    """Run the workflow in this process."""
    return perform(Project.at(project), "w", {}, steps=steps, keep_going=True).run.outcomes


WRITTEN = ("cache/state.db", "cache/claims.lock", "cache/logs", "cache/staging")


def everything(root: Path) -> dict[str, tuple[str, int, int]]:
    """path -> content, rights, names of all files but those of the cache that a run itself writes."""
    found = {}
    for path in sorted(root.rglob("*")):
        told = path.lstat()
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(WRITTEN):
            found[name] = (sha256(path.read_bytes()).hexdigest(), told.st_mode, told.st_nlink)
    return found


def test_nothing_round_it_is_touched(project: Path, victim: int) -> None:
    nodes = [
        {"id": "mine", "function": "mine.mine", "inputs": {"target": "cache/results/mine.txt"}},
        {
            "id": "escape",
            "function": "custom.escape.escape",
            "inputs": {
                "given": "$mine.path",
                "root": str(project),
                "victim": victim,
                "target": "cache/results/made.txt",
            },
        },
    ]
    put(project, "escape", ESCAPE, *nodes)
    assert run(project, "mine")["mine"].state is StepState.RAN
    before = everything(project)
    ended = run(project)
    assert ended["escape"].state is StepState.RAN, ended["escape"].failure
    result = json.loads((project / "cache" / "steps" / "w" / "escape.json").read_text())
    assert result["done"] == [] and result["open"] == [], result
    assert "CANARY" not in result["seen"]
    after = everything(project)
    assert {name: after.get(name) for name in before} == before
    new = sorted(name for name in after if name not in before)
    blob = next(name for name in new if name.startswith("cache/blobs/"))
    assert (project / blob).read_text() == "made"
    assert [name for name in new if name != blob] == ["cache/results/made.txt", "cache/steps/w/escape.json"]
    assert not (project / "nodes" / "__pycache__").exists()
    assert {one.state for one in run(project).values()} == {StepState.CURRENT}


LEAVES = {
    "link": "os.symlink(secret, target)",
    "link to a directory": "os.symlink(Path(secret).parent, target)",
    "pipe": "os.mkfifo(target)",
    "directory": "target.mkdir()\n    os.symlink(secret, target / 'x')",
    "link in the place of its directory": (
        "place = target.parent\n    shutil.rmtree(place)\n    os.symlink(Path(secret).parent, place)"
    ),
}


@pytest.mark.parametrize("how", LEAVES)
def test_the_engine_follows_no_link_that_was_left(project: Path, tmp_path: Path, how: str) -> None:
    secret = tmp_path / "out.txt"
    secret.write_text("CANARY-SECRET")
    code = f"{HEAD}\n@workflow_node(outputs=[])\ndef leave(secret: str, target: Output) -> dict[str, Any]:\n    {LEAVES[how]}\n"
    code += "    return {}\n"
    node = {"id": "leave", "function": "custom.leave.leave"}
    put(project, "leave", code, {**node, "inputs": {"secret": str(secret), "target": "cache/results/out.txt"}})
    ended = run(project)["leave"]
    assert ended.state is StepState.FAILED, ended
    assert secret.read_text() == "CANARY-SECRET" and secret.stat().st_nlink == 1
    assert not (project / "cache" / "results" / "out.txt").exists()
    left = list((project / "cache").rglob("*"))
    assert not any(path.is_symlink() for path in left)
    assert not any(path.is_file() and b"CANARY-SECRET" in path.read_bytes() for path in left)
