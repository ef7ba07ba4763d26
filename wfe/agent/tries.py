"""The gates that run a draft, in the sandbox: on small inputs, then its test on it, then its test on stubs.

One sandboxed process serves all three, since starting it is most of their cost. Knows how to stage a draft and to read
what `trial.py` reports. Does not know models. What comes back from a trial is untrusted text.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wfe.agent.sandbox import Limits, Policy, Sandbox, end, granted
from wfe.agent.spec import Draft, NodeSpec, Permissions
from wfe.agent.staged import Bounds, clear, watched
from wfe.agent.upstream import MARK
from wfe.agent.verdict import Verdict
from wfe.errors import EnvironmentFailure

TRIAL = Path(__file__).parent / "trial.py"
TRIAL_LIMITS = Limits(memory=2 << 30, cpu_seconds=20, open_files=128, file_bytes=64 << 20)
TRIAL_BOUNDS = Bounds(size=512 << 20, entries=5_000, threads=256)
_REPORT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bench:
    """Where drafts are tried. sandbox: None runs them with the user's own rights (`--unsafe`). seconds: of wall time.

    allowed: what a person granted to the draft that is tried. `real`: inputs from the real upstream, tried after the
    examples.
    """

    project: Path
    cache: Path
    sandbox: Sandbox | None
    limits: Limits = field(default_factory=lambda: TRIAL_LIMITS)
    bounds: Bounds = field(default_factory=lambda: TRIAL_BOUNDS)
    seconds: float = 60.0
    allowed: Permissions = field(default_factory=Permissions)
    real: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """What a trial found. gate: "runs", "tested" or "proof"; all empty when the draft passed."""

    gate: str = ""
    verdicts: tuple[Verdict, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.gate


def attempt(draft: Draft, spec: NodeSpec, bench: Bench) -> Tried:
    """Try a draft. Raises EnvironmentFailure when the sandbox itself fails, which says nothing of the draft."""
    run_examples = bool(bench.allowed) or not draft.permissions.network
    examples = [*draft.examples, *bench.real] if run_examples else []
    with _stage(draft, spec, bench, len(draft.examples), examples) as (staging, order):
        argv = [sys.executable, "-B", "-s", "-P", str(TRIAL), str(order)]
        with _door(bench, staging) as door:
            policy = granted(Policy((staging,), gateway=door, limits=bench.limits), bench.allowed.read, bench.project)
            ending = _run(argv, policy, bench)
        lines = _report(staging / "report.ndjson")
    examples = [*draft.examples, *(_shown(one) for one in examples[len(draft.examples) :])]
    return _judge(lines, ending, draft, examples)


@contextmanager
def _stage(
    draft: Draft, spec: NodeSpec, bench: Bench, proposed: int, examples: Sequence[dict[str, Any]]
) -> Iterator[tuple[Path, Path]]:
    """A fresh directory with the draft as a module under `root/`, and the order for trial.py.

    proposed: how many of the examples come from the model; the others are real and may have files.
    """
    folder = bench.cache / "trials"
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{spec.name}-", dir=folder)).resolve()
    try:
        root = staging / "root"
        code = root / spec.path
        code.parent.mkdir(parents=True)
        code.write_text(draft.code, encoding="utf-8")
        # By name, since an editable install is found through a directory that a sandbox does not list.
        (root / "wfe").symlink_to(Path(__file__).parents[1], target_is_directory=True)
        order = staging / "order.json"
        told = {
            "module": spec.module,
            "name": spec.name,
            "root": str(root),
            "code": str(code),
            "test": draft.test,
            "proposed": proposed,
            "examples": [*examples[:proposed], *(_copied(one, staging / "real") for one in examples[proposed:])],
            "outputs": {one.name: one.kind.kind for one in spec.outputs},
            "report": str(staging / "report.ndjson"),
        }
        order.write_text(json.dumps(told), encoding="utf-8")
        yield staging, order
    finally:
        clear(staging)
        staging.rmdir()


def _copied(tree: Any, folder: Path) -> Any:
    """A real value with its files copied to where the draft may read, and spoil, them."""
    if isinstance(tree, dict) and MARK in tree:
        place = folder / str(len(list(folder.iterdir())) if folder.is_dir() else 0)
        place.mkdir(parents=True)
        return {**tree, "path": shutil.copyfile(tree["path"], place / Path(tree["path"]).name).as_posix()}
    if isinstance(tree, dict):
        return {key: _copied(value, folder) for key, value in tree.items()}
    return [_copied(value, folder) for value in tree] if isinstance(tree, list) else tree


def _shown(tree: Any) -> Any:
    """A real value as the model may be told of it: a file by its name."""
    if isinstance(tree, dict) and MARK in tree:
        return {tree[MARK]: Path(tree["path"]).name}
    if isinstance(tree, dict):
        return {key: _shown(value) for key, value in tree.items()}
    return [_shown(value) for value in tree] if isinstance(tree, list) else tree


@contextmanager
def _door(bench: Bench, staging: Path) -> Iterator[Path | None]:
    hosts = bench.allowed.network
    if bench.sandbox is None or not hosts:
        yield None
        return
    if not bench.sandbox.holds_hosts:
        raise EnvironmentFailure(
            "a network permission needs bubblewrap to be held to its hosts", hint="install bubblewrap"
        )
    from wfe.agent.gateway import gateway  # Unix sockets: not there on Windows, where there is no sandbox either

    # Beside the staging directory, which the node could write to.
    with (
        tempfile.TemporaryDirectory(prefix="door-", dir=staging.parent) as folder,
        gateway(hosts, Path(folder)) as door,
    ):
        yield door


def _run(argv: list[str], policy: Policy, bench: Bench) -> str:
    """Run a trial to its end; how it ended, as a text for people, "" when by itself.

    Raises EnvironmentFailure when the sandbox did not come up. What the draft prints, or exits with, cannot look so.
    """
    (staging,) = policy.writable
    log_file = staging.with_suffix(".log")
    late = threading.Event()
    began, starting = os.pipe()
    try:
        try:
            line = bench.sandbox.command(argv, replace(policy, status=starting)) if bench.sandbox else argv
            with log_file.open("wb") as log:
                process = subprocess.Popen(
                    line,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=staging,
                    start_new_session=True,
                    pass_fds=(starting,) if os.name == "posix" else (),
                )
        finally:
            os.close(starting)

        def stop() -> None:
            late.set()
            end(process)

        timer = threading.Timer(bench.seconds, stop)  # wait(timeout) polls, which adds up to 50 ms to each trial
        timer.start()
        try:
            with watched(process.pid, staging, bench.bounds, lambda: end(process)) as beyond:
                code = process.wait()
        except BaseException:
            end(process)
            raise
        finally:
            timer.cancel()
        told = os.read(began, 8)
    finally:
        os.close(began)
    said = log_file.read_bytes()[-2000:].decode("utf-8", "replace").strip()
    log_file.unlink()
    if bench.sandbox and told != b"1":
        raise EnvironmentFailure(f"the sandbox could not be set up: {said}", hint="`wfe doctor` shows what works here")
    if beyond:
        return beyond[0]
    if late.is_set():
        return f"it was not done after {bench.seconds:g} s"
    return _ended(code)


def _ended(code: int) -> str:
    if code == 0:
        return ""
    signal = -code if code < 0 else code - 128 if code > 128 else 0
    names = {
        9: "it used up its processor time, or was killed",
        24: "it used up its processor time",
        25: "it wrote too large a file",
    }
    return names.get(signal, f"it was killed by signal {signal}") if signal else f"it exited with code {code}"


def _report(path: Path) -> list[dict[str, Any]]:
    # The draft could have put a link or a pipe there, to have us read what it cannot, or wait for ever.
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return []
    with os.fdopen(handle, "rb") as stream:
        plain = stat.S_ISREG(os.fstat(handle).st_mode)
        text = stream.read(_REPORT_BYTES).decode("utf-8", "replace") if plain else ""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            break
        if isinstance(value, dict):
            found.append(value)
    return found


def _judge(lines: Sequence[dict[str, Any]], ending: str, draft: Draft, examples: Sequence[dict[str, Any]]) -> Tried:
    results = tuple(str(line.get("result", ""))[:700] for line in lines if line.get("stage") == "ran")
    last = lines[-1] if lines else {"stage": "start"}
    stage = last.get("stage")
    if stage == "done":
        return Tried(results=results)
    gate = {"tests": "tested", "tested": "proof", "stub": "proof", "fooled": "proof"}.get(str(stage), "runs")
    if stage == "failed":
        gate = "tested" if last.get("at") == "test" else "runs"
        return Tried(gate, (_failure(last, examples),), results)
    if stage == "wrong":
        place = f"answer.examples[{last.get('number')}]"
        return Tried(gate, (Verdict(place, str(last.get("expected"))[:300], str(last.get("got"))[:700]),), results)
    if stage == "fooled":
        hint = "assert exact results for at least two different inputs" + (
            ", and the contents of written files" if _writes(examples) else ""
        )
        got = f"all tests pass on a stub that {last.get('name')}"
        return Tried(gate, (Verdict("test", "a test that fails on a function that does nothing", got, hint),), results)
    where = {"example": f"answer.examples[{last.get('number')}]", "ran": "code", "import": "code", "start": "code"}.get(
        str(stage), "test"
    )
    got = f"the process ended before it returned: {ending or 'it exited with code 0'}"
    hint = "no os._exit, no endless loop, no huge memory, no subprocess: the sandbox bounds all of them"
    return Tried(gate, (Verdict(where, "a call that returns", got, hint),), results)


def _failure(last: dict[str, Any], examples: Sequence[dict[str, Any]]) -> Verdict:
    kind, line = str(last.get("kind"))[:80], last.get("line") or 1
    got = f"{kind}: {str(last.get('message'))[:500]}" + (
        f" (at `{str(last.get('text'))[:160]}`)" if last.get("text") else ""
    )
    place = f"{'test' if last.get('file') == 'test' else 'code'}:{line}"
    hint = ""
    if kind in (
        "PermissionError",
        "ConnectionError",
        "ConnectionRefusedError",
        "gaierror",
        "ProxyError",
        "URLError",
        "MemoryError",
        "BlockingIOError",
    ):
        hint = "a node reads its inputs and writes its Output files; no other file, no process, no network unasked"
    if last.get("at") == "test":
        return Verdict(
            place, "a test that passes on the node", got, hint or "mend the node or the test, whichever is wrong"
        )
    number = last.get("number")
    given = f" for {json.dumps(examples[number])[:300]}" if isinstance(number, int) and number < len(examples) else ""
    return Verdict(place, f"a result{given}", got, hint)


def _writes(examples: Sequence[dict[str, Any]]) -> bool:
    return any(isinstance(value, dict) and "output" in value for one in examples for value in one.values())
