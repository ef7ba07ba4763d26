"""A workflow that fails when it is tried end to end, and drafts that are tried on what the steps before really made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desks import MakeDesk
from ollama_server import Answer, OllamaServer
from test_agent_flow import run_it

from wfe.agent import header
from wfe.agent.author import MAX_REPAIRS, Desk, WrittenState
from wfe.agent.flow import complete, generate
from wfe.agent.outline import missing_specs
from wfe.agent.upstream import real_inputs
from wfe.catalog import Catalogue
from wfe.core.parse import parse
from wfe.errors import ExitCode

Served = Callable[[Answer], OllamaServer]
HEAD = "from typing import Any\n\nfrom wfe import workflow_node\n\n\n"
TEXT = (
    HEAD + '@workflow_node(outputs={"text": str})\ndef give(word: str) -> dict[str, Any]:\n'
    '    """The word, loud."""\n    return {"text": word.upper()}\n'
)


def share(rule: str) -> dict[str, Any]:
    """An answer for a node `share` that divides 100 by the count of its text's letters as `rule` has it."""
    code = (
        HEAD + '@workflow_node(outputs={"each": float})\ndef share(text: str) -> dict[str, Any]:\n'
        f'    """What each letter gets of 100."""\n    letters = {rule}\n    return {{"each": 100 / letters}}\n'
    )
    test = (
        "from nodes.custom.share import share\n\n\ndef test_share():\n"
        '    assert share("abcd") == {"each": 25.0}\n    assert share("ab") == {"each": 50.0}\n'
    )
    return {
        "name": "share",
        "code": code,
        "dependencies": [],
        "examples": [{"text": "abcd"}, {"text": "ab"}],
        "test": test,
    }


LOWER = share("sum(letter.islower() for letter in text)")
GOOD = share("len(text)")


def set_up(at: Desk, *, word: str = "word") -> Path:
    """A project with one node that a person wrote, whose result is given to a node that is missing."""
    (at.project / "nodes").mkdir(exist_ok=True)
    (at.project / "nodes" / "give.py").write_text(TEXT)
    nodes = [
        {"id": "give", "function": "give.give", "inputs": {"word": word}},
        {"id": "share", "function": "custom.share.share", "inputs": {"text": "$give.text"}, "depends_on": ["give"]},
        {"id": "last", "function": "give.give", "inputs": {"word": "end"}, "depends_on": ["share"]},
        {"id": "more", "function": "custom.twice.twice", "inputs": {"each": "$share.each"}},
    ]
    path = at.project / "workflows" / "shares.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"workflow": {"name": "shares"}, "nodes": nodes[:3]}))
    return path


def spec_of(path: Path, at: Desk) -> Any:
    workflow = parse(path.read_bytes(), "w.json", path.stem)
    catalogue = Catalogue(at.project)
    (spec,) = missing_specs(workflow, catalogue)
    return spec


def told(server: OllamaServer, number: int) -> str:
    return str(server.chats[number]["messages"][-1]["content"])


def outputs(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, fitted to a specification that was derived: its output has no known type."""
    return {**answer, "code": answer["code"].replace('"each": float', '"result": Any').replace('{"each"', '{"result"'),
            "test": answer["test"].replace('"each"', '"result"')}  # fmt: skip


def test_a_draft_is_tried_on_what_the_step_before_made(desk: MakeDesk, served: Served) -> None:
    left = [outputs(LOWER), outputs(GOOD)]
    server = served(lambda body: left.pop(0))
    at = desk(server)
    path = set_up(at)
    made = complete(path, at, run_it(at.project))
    assert made.good and made.ran is ExitCode.OK, made
    assert len(server.chats) == 2  # the first one passes its own test; "WORD" has no lower-case letter
    assert 'was checked by "runs"' in told(server, 1)
    assert "ZeroDivisionError" in told(server, 1) and "WORD" in told(server, 1)
    found = header.read((at.project / "nodes" / "custom" / "share.py").read_text())
    assert found is not None and {"runs (proposed input)", "runs (real input)"} <= set(found.origin.gates)


def test_results_that_stand_are_taken_without_a_run(desk: MakeDesk, served: Served) -> None:
    at = desk(served(lambda body: outputs(GOOD)))
    path = set_up(at)
    spec = spec_of(path, at)
    assert real_inputs(spec, path, [spec], at.project) == ()
    assert real_inputs(spec, path, [spec], at.project, lambda name: ExitCode.FAILED) == ()
    assert real_inputs(spec, path, [spec], at.project, run_it(at.project)) == ({"text": "WORD"},)
    written = generate(spec, at, path)
    found = header.read(written.path.read_text())
    assert found is not None and "runs (real input)" not in found.origin.gates  # nothing stands under its own name yet
    assert complete(path, at, run_it(at.project)).ran is ExitCode.OK
    written.path.unlink()
    assert generate(spec, at, path).state is WrittenState.KEPT
    found = header.read(written.path.read_text())
    assert found is not None and "runs (real input)" in found.origin.gates


def failing(at: Desk, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As where a fault shows only in the whole: no draft is tried on real values."""
    monkeypatch.setattr("wfe.agent.upstream.real_inputs", lambda *_: ())
    return set_up(at)


def test_a_node_that_fails_in_the_run_is_mended(
    desk: MakeDesk, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [outputs(LOWER), outputs(GOOD)]
    server = served(lambda body: left.pop(0))
    at = desk(server)
    made = complete(failing(at, monkeypatch), at, run_it(at.project))
    assert made.good and made.ran is ExitCode.OK
    assert [one.state for one in made.nodes] == [WrittenState.KEPT]
    asked = told(server, 1)
    assert 'was checked by "the run of the whole workflow"' in asked
    for part in ('"place": "step share"', "ZeroDivisionError", "WORD", "share.py", "100 / letters"):
        assert part in asked, asked
    assert "islower" in server.chats[1]["messages"][-2]["content"]  # its own answer, as it stands in the file


def test_the_same_error_again_ends_it(desk: MakeDesk, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    server = served(lambda body: outputs(LOWER))
    at = desk(server)
    made = complete(failing(at, monkeypatch), at, run_it(at.project))
    assert made.ran is ExitCode.FAILED and len(server.chats) == 2
    assert (at.project / "nodes" / "custom" / "share.py").is_file()  # it passed its gates; it stays


def test_the_repairs_of_a_run_are_bounded(desk: MakeDesk, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    number = 0

    def answer(body: dict[str, Any]) -> Any:
        nonlocal number
        number += 1
        return outputs(share(f'len(text) if text != "WORD" else int("x{number}")'))

    server = served(answer)
    at = desk(server)
    runs: list[str] = []
    run = run_it(at.project)
    made = complete(failing(at, monkeypatch), at, lambda name: runs.append(name) or run(name))  # type: ignore[func-returns-value]
    assert made.ran is ExitCode.FAILED
    assert len(server.chats) == len(runs) == MAX_REPAIRS + 1


def test_a_repair_that_no_gate_passes_leaves_the_node(
    desk: MakeDesk, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [outputs(LOWER)]
    server = served(lambda body: left.pop(0) if left else {**outputs(GOOD), "code": "x = 1\n"})
    at = desk(server)
    made = complete(failing(at, monkeypatch), at, run_it(at.project))
    assert not made.good and made.ran is ExitCode.FAILED
    assert [one.state for one in made.nodes] == [WrittenState.REJECTED]
    assert "islower" in (at.project / "nodes" / "custom" / "share.py").read_text()
    assert (at.project / "nodes" / "custom" / "share.py.rejected").is_file()


def test_a_node_of_a_person_is_not_mended(desk: MakeDesk, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    server = served(lambda body: outputs(LOWER))
    at = desk(server)
    path = failing(at, monkeypatch)
    written = generate(spec_of(path, at), at, path)
    written.path.write_text(written.path.read_text() + "\n# mine\n")
    made = complete(path, at, run_it(at.project))
    assert made.ran is ExitCode.FAILED and len(server.chats) == 1


def test_files_and_arrays_of_the_steps_before_are_copied(desk: MakeDesk, served: Served) -> None:
    before = (
        "import numpy as np\n" + HEAD.replace("import workflow_node", "import Output, workflow_node")
        + '@workflow_node(outputs={"table": np.ndarray}, dependencies=["numpy"])\n'
        "def make(target: Output) -> dict[str, Any]:\n"
        '    """Numbers, and a file."""\n    target.write_text("three\\nlines\\nhere")\n'
        '    return {"table": np.arange(6).reshape(2, 3), "lines": target}\n'
    )  # fmt: skip
    code = (
        "from pathlib import Path\nimport numpy as np\n" + HEAD
        + '@workflow_node(outputs={"sum": int}, dependencies=["numpy"])\n'
        "def add(table: np.ndarray, lines: Path) -> dict[str, Any]:\n"
        '    """The sum of the numbers and of the lines."""\n'
        "    count = len(lines.read_text().splitlines())\n    lines.write_text('spoilt')\n"
        '    return {"sum": int(table.sum()) + count}\n'
    )  # fmt: skip
    from wfe.agent.spec import Draft, Field, NodeSpec
    from wfe.agent.tries import attempt

    at = desk(served(lambda body: ""))
    (at.project / "nodes").mkdir()
    (at.project / "nodes" / "make.py").write_text(
        before.replace('"table": np.ndarray}', '"table": np.ndarray, "lines": str}')
    )
    nodes = [
        {"id": "make", "function": "make.make", "inputs": {"target": "cache/results/t.txt"}},
        {"id": "add", "function": "custom.add.add", "inputs": {"table": "$make.table", "lines": "$make.lines"}},
    ]
    path = at.project / "workflows" / "w.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"workflow": {"name": "w"}, "nodes": nodes}))
    spec = NodeSpec("add", "p", (Field("table", "np.ndarray"), Field("lines", "Path")), (Field("sum", "int"),))
    real = real_inputs(spec, path, [spec], at.project, run_it(at.project))
    assert len(real) == 1
    from dataclasses import replace

    tried = attempt(Draft(code), spec, replace(at.bench, real=real))
    assert tried.passed and tried.results == ("{'sum': 18}",), tried
    assert (at.project / "cache" / "results" / "t.txt").read_text().startswith("three")


@pytest.mark.parametrize("name", ["../secret.txt", "link.txt"])
def test_a_file_outside_the_project_is_not_handed_to_a_draft(tmp_path: Path, name: str) -> None:
    from wfe.agent.spec import Field, NodeSpec

    project = tmp_path / "project"
    (project / "workflows").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("CANARY")
    (project / "link.txt").symlink_to(tmp_path / "secret.txt")
    (project / "own.txt").write_text("mine")
    spec = NodeSpec("add", "p", (Field("lines", "Path"),), (Field("sum", "int"),))
    for value, found in ((name, 0), ("own.txt", 1)):
        nodes = [{"id": "add", "function": "custom.add.add", "inputs": {"lines": value}}]
        path = project / "workflows" / "w.json"
        path.write_text(json.dumps({"workflow": {"name": "w"}, "nodes": nodes}))
        assert len(real_inputs(spec, path, [spec], project)) == found
