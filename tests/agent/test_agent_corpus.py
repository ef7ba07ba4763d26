"""Every answer of the corpus, through the real client, the real gates and a real sandbox."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from answers import BAD, CASES, GOOD, Case
from desks import MakeDesk
from ollama_server import Answer, OllamaServer, in_turn

from wfe.agent import header
from wfe.agent.author import ORDER, WrittenState, write_node

Served = Callable[[Answer], OllamaServer]


@dataclass
class Outside:
    """What a draft must not touch: a private file, a place to write, a listening port, a secret in the environment."""

    root: Path
    canary: Path
    place: Path
    server: socket.socket

    def places(self) -> dict[str, str]:
        port = str(self.server.getsockname()[1])
        project = str(self.root.parent / "project")
        return {"CANARY": str(self.canary), "OUTSIDE": str(self.place), "PORT": port, "PROJECT": project}

    def untouched(self) -> None:
        assert self.canary.read_text() == "CANARY-KEY"
        assert sorted(path.name for path in self.root.rglob("*")) == [".ssh", "id_ed25519", "outside"]
        self.server.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.server.accept()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    root = tmp_path / "home"
    canary = root / ".ssh" / "id_ed25519"
    canary.parent.mkdir(parents=True)
    canary.write_text("CANARY-KEY")
    (root / "outside").mkdir()
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("SECRET_TOKEN", "CANARY-TOKEN")
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Outside(root, canary, root / "outside" / "file", server)


def names_in(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_bad_answer_is_caught_by_its_gate(case: Case, desk: MakeDesk, served: Served, outside: Outside) -> None:
    server = served(in_turn(case.reply(**outside.places())))
    at = case.at(desk(server))
    written = write_node(case.spec, at)
    assert (written.state, written.gate) == (WrittenState.REJECTED, case.gate), written.verdicts
    assert written.asked == 2  # the same answer again gives the same verdict, and then it stops
    outside.untouched()
    assert names_in(at.project) == sorted([".wfe/models.json", *case.files, case.spec.path + ".rejected"])
    report = written.path.read_text()
    assert report.startswith(f"# Rejected by {case.gate} after 2 drafts of qwen2.5-coder:7b. This is no node.\n# ")
    for secret in ("CANARY-KEY", "CANARY-TOKEN"):
        assert secret not in report and secret not in str(server.chats)
    assert not list((at.bench.cache / "trials").glob("*")) if (at.bench.cache / "trials").exists() else True
    verdict = written.verdicts[0].plain()
    assert set(verdict) == {"place", "expected", "got", "hint"} and verdict["expected"] and verdict["got"]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_good_answer_is_accepted_at_once(case: Case, desk: MakeDesk, served: Served, outside: Outside) -> None:
    at = case.at(desk(served(in_turn(case.reply()))))
    written = write_node(case.spec, at)
    assert written.state is WrittenState.KEPT, written.verdicts
    assert written.asked == 1
    outside.untouched()
    assert names_in(at.project) == sorted([".wfe/models.json", *case.files, case.spec.path, case.spec.path + ".test"])
    found = header.read(written.path.read_text())
    assert found is not None and not found.edited
    assert found.origin.model == "qwen2.5-coder:7b" and len(found.origin.weights) == 64
    assert ("runs (proposed input)" in found.origin.gates) == (case.name != "good_network")
    assert found.origin.gates[-2:] == ("tested", "proof")


SPECS = [one.spec for one in GOOD]


@pytest.mark.parametrize("case", [one for one in BAD if one.spec in SPECS], ids=lambda case: case.name)
def test_a_repair_converges(case: Case, desk: MakeDesk, served: Served, outside: Outside) -> None:
    good = next(one for one in GOOD if one.spec == case.spec)
    server = served(in_turn(case.reply(**outside.places()), good.reply()))
    at = case.at(desk(server))
    written = write_node(case.spec, at)
    assert written.state is WrittenState.KEPT, written.verdicts
    assert written.asked == 2
    first, second = server.chats
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "user"]
    assert second["messages"][:2] == first["messages"]
    asked = second["messages"][-1]["content"]
    assert f'was checked by "{case.gate}"' in asked and '"expected"' in asked


def test_the_plan_gate_alone_refuses_what_only_the_workflow_tells(desk: MakeDesk, served: Served) -> None:
    """The same answer for a node that is in no workflow passes everything else."""
    (case,) = (one for one in BAD if one.gate == "plan")
    alone = write_node(case.spec, desk(served(in_turn(case.reply()))))
    assert alone.state is WrittenState.KEPT, alone.verdicts


def test_every_gate_has_a_bad_answer_and_every_bad_answer_a_gate() -> None:
    assert {case.gate for case in BAD} == set(ORDER)
    assert len({case.name for case in CASES}) == len(CASES) >= 50
    assert os.path.basename(CASES[0].name)
