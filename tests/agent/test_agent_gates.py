"""Single gates where the corpus does not reach: the plan round a node, a machine without a type checker, prompts."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from answers import GOOD
from ollama_server import Answer, OllamaServer

from wfe.agent import lint, prompt
from wfe.agent.gate import Site
from wfe.agent.lint import Types, polish
from wfe.agent.outline import Overlay, compile_problems, compiler
from wfe.agent.spec import Draft, check_host, check_path, slug
from wfe.env.lease import holding
from wfe.errors import EnvironmentFailure, WorkflowError

Served = Callable[[Answer], OllamaServer]
PLAIN = next(case for case in GOOD if case.name == "good_plain")
CODE = PLAIN.answer["code"]
DOCUMENT = {
    "workflow": {"name": "w"},
    "nodes": [
        {"id": "loud", "function": "custom.shout.shout", "inputs": {"text": "a", "marks": 1}},
        {"id": "again", "function": "custom.shout.shout", "inputs": {"text": "$loud.loud", "marks": 2}},
    ],
}


def test_a_draft_that_breaks_the_workflow_round_it_is_told(tmp_path: Path) -> None:
    compiles = compiler(tmp_path, DOCUMENT, [PLAIN.spec])
    assert compiles(PLAIN.spec, Draft(CODE)) == []
    found = compiles(PLAIN.spec, Draft(CODE.replace('"loud": str', '"noise": str')))
    assert found and "loud" in found[0].got


def test_what_was_wrong_before_is_no_fault_of_the_draft(tmp_path: Path) -> None:
    wrong = {**DOCUMENT, "nodes": [*DOCUMENT["nodes"], {"id": "x", "function": "nobody.nobody"}]}
    assert compile_problems(wrong, Overlay(tmp_path, [PLAIN.spec]))
    assert compiler(tmp_path, wrong, [PLAIN.spec])(PLAIN.spec, Draft(CODE)) == []


def test_without_a_type_checker_the_annotations_are_all_that_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, tmp_path)
    wrong = Draft(CODE.replace("    return", "    n: int = 'x'\n    return"))
    assert Types().look(wrong, PLAIN.spec, site)[0].place.startswith("code:")
    assert Types().checker().startswith("mypy ")
    monkeypatch.setattr(lint.util, "find_spec", lambda name: None)
    assert Types().look(wrong, PLAIN.spec, site) == [] and Types().checker() == ""


def test_two_generations_do_not_share_a_type_checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cache is one for all, and of two at once one may end with an error of its own."""
    monkeypatch.setattr(lint, "_PATIENCE", 0.01)
    site = Site(tmp_path, tmp_path)
    with holding(tmp_path / "types", "cache"), pytest.raises(EnvironmentFailure, match="another mypy"):
        Types().look(Draft("x = 1\n"), PLAIN.spec, site)
    assert Types().look(Draft("x = 1\n"), PLAIN.spec, site) == []


def test_polish_leaves_what_is_no_python(tmp_path: Path) -> None:
    assert polish(Draft("def (:\n"), Site(tmp_path, tmp_path)) == "def (:\n"
    assert polish(Draft("import os\nx=1\n"), Site(tmp_path, tmp_path)) == "x = 1\n"


def test_quoted_data_cannot_end_its_quotation() -> None:
    text = prompt.quote(["</data>", "a\nb", "x" * 9999], 100)
    assert "<" not in text and "\n" not in text and len(text) < 200


@pytest.mark.parametrize("good", ["example.org", "*.example.org", "localhost:8080", "127.0.0.1"])
def test_hosts_that_can_be_granted(good: str) -> None:
    assert check_host(good)


@pytest.mark.parametrize("bad", ["*", "", "*.*", "a..b", "http://x", "a/b", "a b", "*.", "-a", "[::]", "a:port"])
def test_hosts_that_cannot(bad: str) -> None:
    assert not check_host(bad)


@pytest.mark.parametrize(
    "bad", ["", "/etc", "../x", "a/../b", "~/x", ".ssh", "a/.env", "C:/x", "a\\..\\b", "a\0b", "./a"]
)
def test_paths_that_lead_out(bad: str) -> None:
    assert not check_path(bad)


def test_names_from_descriptions() -> None:
    assert slug("Resize an image!") == "resize_an_image"
    assert slug("3 little pigs") == "n_3_little_pigs"
    assert slug("...") == slug("import") == "generated"


def test_an_unknown_hole_in_a_prompt_is_told(tmp_path: Path) -> None:
    prompts = prompt.load(tmp_path)
    with pytest.raises(WorkflowError, match="unknown hole"):
        replace(prompts, texts={"x": "{{nothing}}"}).fill("x", something="1")


def test_a_digest_covers_every_prompt(tmp_path: Path) -> None:
    folder = tmp_path / ".wfe" / "prompts"
    folder.mkdir(parents=True)
    before = prompt.load(tmp_path).digest
    for name in ("repair.md", "example.py"):
        (folder / name).write_text("other")
        assert (after := prompt.load(tmp_path).digest) != before
        before = after


def test_the_schemas_are_schemas() -> None:
    import jsonschema

    for schema in (prompt.outline_schema(), prompt.node_schema(PLAIN.spec), prompt.signature_schema(PLAIN.spec)):
        jsonschema.Draft202012Validator.check_schema(schema)
        json.dumps(schema)


def test_the_verbs_load_where_there_are_no_unix_sockets() -> None:
    """As on Windows: the sandbox is refused there in words, not by an import that fails."""
    assert hasattr(socketserver, "UnixStreamServer")
    code = "import socketserver; del socketserver.UnixStreamServer; import wfe.agent.verbs, wfe.agent.confined, wfe.agent.guard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_without_generated_nodes_loads_no_sandbox() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom wfe.agent.guard import untrusted\n"
        "assert untrusted(Path('.'), ['nothing.py']) == ()\n"
        "print([name for name in sys.modules if name in ('wfe.agent.sandbox', 'jsonschema', 'ollama', 'wfe.agent.author')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
