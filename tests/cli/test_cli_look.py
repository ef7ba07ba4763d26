"""The verbs that look, write and keep: list, graph, show, log, validate, init, clean, collect, verify, check, doctor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from wfe.cli import amount, draw
from wfe.cli.here import address
from wfe.core.step import Step
from wfe.engine.project import Project
from wfe.engine.workspace import Workspace
from wfe.errors import WfeError
from wfe.store.traces import Traces
from wfe.testing import ProjectUnderTest


def test_a_fan_without_items_has_its_line(project: ProjectUnderTest, wfe) -> None:
    project.write("in.txt", "")
    project.workflow(
        "none",
        [
            {"id": "read", "function": "some.numbers", "inputs": {"source": "in.txt"}},
            {"id": "each", "function": "some.half", "foreach": "$read.numbers", "inputs": {"total": "$item"}},
        ],
    )
    said = wfe("run", "none", "--plain").out
    assert "current   each  it has no items" in said and "none: 1 ran, 1 current" in said
    assert "none: 2 current" in wfe("run", "none", "--plain").out
    assert ["each", "it", "has", "no", "items"] in [line.split()[:5] for line in wfe("list", "none").out.splitlines()]
    assert [one["state"] for one in wfe("list", "none", "--json").lines()] == ["current", "current"]


def test_show_an_item_that_a_fan_does_not_have(project: ProjectUnderTest, wfe) -> None:
    """To run the fan, as it was told, would not help."""
    each = {"id": "each", "function": "some.double", "foreach": [1, 2], "inputs": {"item": "$item"}}
    project.workflow("two", [each])
    assert wfe("show", "two:each[2]").err == "step 'each[2]' has no result yet; run it: wfe run two each\n"
    wfe("run", "two")
    done = wfe("show", "two:each[3]")
    assert (done.code, done.err) == (3, "workflow 'two' has no step 'each[3]'; did you mean 'each[2]'?\n")


def test_an_include_is_told_as_the_steps_that_it_stands_for(project: ProjectUnderTest, wfe) -> None:
    """To run it, as it was told, does not go: it is no step."""
    project.workflow("whole", [{"id": "part", "include": "sum"}, {"id": "last", "function": "some.fails"}])
    parts = "part__read, part__add, part__half, part__write"
    fact = f"workflow 'whole' has no step 'part', which stands for others; name one of these: {parts}\n"
    for words in (["show", "whole:part"], ["log", "whole:part"], ["why", "whole:part"], ["run", "whole", "part"]):
        done = wfe(*words)
        assert (done.code, done.err) == (3, fact), words
    assert wfe("show", "whole:part__add").err == "step 'part__add' has no result yet; run it: wfe run whole part__add\n"
    assert wfe("log", "whole:lsat").err == "workflow 'whole' has no step 'lsat'; did you mean 'last'?\n"
    assert wfe("run", "whole", "part__add").code == 0
    assert wfe("show", "whole:part__add.total").out == "6\n"


def test_the_newest_run_of_a_workflow(project: ProjectUnderTest, wfe) -> None:
    project.workflow("other", [{"id": "read", "function": "some.numbers", "inputs": {"source": "in.txt"}}])
    wfe("run", "sum", "-q")
    wfe("run", "sum", "-q", "--set", "plus=2")
    newest = wfe("runs", "sum", "--json").lines()[0]["run"]
    none = wfe("timeline", "other")
    assert none.code == 3 and none.err.startswith("no run of workflow 'other' is recorded in ")
    assert none.err.endswith("; run it first: wfe run other\n")
    wfe("run", "other", "-q")
    assert json.loads(wfe("timeline", "sum").out)["otherData"]["run"] == newest
    assert newest in wfe("report", "sum").out and newest not in wfe("report").out
    assert wfe("timeline", newest[:-2]).out == wfe("timeline", "sum").out


def test_show_a_step_that_was_skipped(project: ProjectUnderTest, wfe) -> None:
    """To run it again, as it was told, would not help."""
    step = {"id": "one", "function": "some.double", "when": "${on}", "inputs": {"item": 1}}
    project.workflow("maybe", [step], params={"on": False})
    wfe("run", "maybe:one")
    why = "it was skipped, its condition '${on}' does not hold (${on} is false)"
    assert wfe("show", "maybe:one").err == f"step 'one' has no result: {why}\n"
    assert "1 ran" in wfe("run", "maybe:one", "--set", "on=true").out
    assert wfe("show", "maybe:one.doubled").out == "2\n"


def test_show_a_fan_without_items(project: ProjectUnderTest, wfe) -> None:
    project.write("in.txt", "")
    project.workflow(
        "none",
        [
            {"id": "read", "function": "some.numbers", "inputs": {"source": "in.txt"}},
            {"id": "each", "function": "some.double", "foreach": "$read.numbers", "inputs": {"item": "$item"}},
            {"id": "never", "function": "some.double", "foreach": [], "inputs": {"item": "$item"}},
        ],
    )
    assert wfe("show", "none:each").err == "step 'each' has no result yet; run it: wfe run none each\n"
    wfe("run", "none")
    for target in ("none:each", "none:each.doubled", "none:never"):
        assert wfe("show", target).out == "[]\n", target
    done = wfe("show", "none:each.3")
    assert (done.code, done.err) == (2, "none:each: the result has 0 entries, there is none at 3\n")
    project.write("in.txt", "4")
    wfe("run", "none")
    assert json.loads(wfe("show", "none:each.doubled").out) == [8]
    project.write("in.txt", "")
    wfe("run", "none")
    assert wfe("show", "none:each").out == "[]\n"


def test_show_half_a_character(project: ProjectUnderTest, wfe) -> None:
    project.node("half", "from wfe import workflow_node\n@workflow_node()\ndef h():\n    return {'é': '\\ud800'}\n")
    project.workflow("half", [{"id": "h", "function": "half.h"}])
    assert wfe("run", "half").code == 0
    for locale in ("C", "C.UTF-8"):  # of which the first has another way with what it cannot write
        for words in (["half:h"], ["half:h", "--json"]):
            done = wfe("show", *words, LC_ALL=locale)
            assert (done.code, done.out) == (0, '{"é": "\\ud800"}\n'), words
    assert wfe("show", "half").out == 'h\n  .é  "\\ud800"\n'


def test_list_of_workflows_steps_and_nodes(project: ProjectUnderTest, wfe) -> None:
    project.write("workflows/broken.json", "{")
    project.write("workflows/environments.lock.json", "{}")
    project.write("workflows/environments.json", '{"lab": {"requirements": ["six"]}}')
    lines = wfe("list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["WORKFLOW", "broken", "sum"]
    assert "(not valid: workflows/broken.json:1:2: not valid JSON" in lines[1] and lines[2].endswith("Add numbers")
    wfe("run", "sum", "read")
    rows = {one["step"]: one for one in wfe("list", "sum", "--json").lines()}
    assert (rows["read"]["state"], rows["add"]["state"], rows["half"]["until"]) == ("current", "run", ["add"])
    assert rows["add"]["function"] == "some.total" and rows["read"]["seconds"] >= 0
    found = wfe("list", "--nodes").out.splitlines()
    assert "some.total(numbers: list, plus: int = ...) -> {total: int}" in found and "    Their sum." in found
    project.write("nodes/bad.py", "def (")
    done = wfe("list", "--nodes")
    assert done.code == 3 and "nodes/bad.py:1:" in done.err and "some.total" in done.out


def test_show_says_when_the_result_is_an_earlier_one(project: ProjectUnderTest, wfe) -> None:
    project.node(
        "picky", "from wfe import workflow_node\n@workflow_node()\ndef half(n: int):\n    return {'half': 4 // n}\n"
    )
    document = {"id": "half", "function": "picky.half", "inputs": {"n": "${n}"}}
    project.workflow("picky", [document], params={"n": 2})
    wfe("run", "picky")
    assert wfe("show", "picky:half.half").err == ""
    assert wfe("run", "picky", "--set", "n=0").code == 1
    done = wfe("show", "picky:half.half")
    assert (done.code, done.out.strip()) == (0, "2")
    assert done.err == "half failed in the last run; this is what it gave before\n"
    wfe("run", "picky")
    assert wfe("show", "picky:half.half").err == ""


@pytest.mark.parametrize("foreach", [None, "$read.numbers"], ids=["constant", "upstream"])
def test_show_lists_what_the_workflow_has_now(foreach: str | None, project: ProjectUnderTest, wfe) -> None:
    def numbers(*found: int) -> None:
        project.write("in.txt", " ".join(map(str, found)))
        read = {"id": "read", "function": "some.numbers", "inputs": {"source": "in.txt"}}
        each = {"id": "each", "function": "some.double", "foreach": foreach or list(found), "inputs": {"item": "$item"}}
        project.workflow("fan", [read, each])
        assert wfe("run", "fan").code == 0

    numbers(1, 2)
    assert [one["step"] for one in wfe("show", "fan", "--json").lines()] == ["each[1]", "each[2]", "read"]
    numbers(2, 3)
    done = wfe("show", "fan", "--json")
    assert [one["step"] for one in done.lines()] == ["each[2]", "each[3]", "read"]
    assert done.err == "left out, since the workflow does not have them now: each[1]\n"
    project.write("workflows/fan.json", "{")
    assert [one["step"] for one in wfe("show", "fan", "--json").lines()] == ["each[1]", "each[2]", "each[3]", "read"]


def test_show_an_object_an_array_and_a_file(project: ProjectUnderTest, wfe) -> None:
    project.workflow(
        "things",
        nodes=[
            {"id": "array", "function": "some.array", "inputs": {"size": 3}},
            {"id": "write", "function": "some.write", "inputs": {"total": 9, "path": "out/nine.txt"}},
        ],
    )
    wfe("run", "things")
    assert json.loads(wfe("show", "things:array").out) == {
        "array": {"dtype": "float32", "shape": [3, 2], "preview": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    }
    assert json.loads(wfe("show", "things:write.path").out) == str(project.root / "out" / "nine.txt")
    assert wfe("show", "things").out.splitlines() == ["array", "  .array  float32[3x2]", "write", "  .path  file"]
    assert wfe("show", "things:array.array", "--save", "a.npy").code == 0
    assert numpy.load(project.root / "a.npy").tolist() == [[0, 1], [2, 3], [4, 5]]
    assert wfe("show", "things:array", "--save", "a.json").code == 0
    assert json.loads((project.root / "a.json").read_text()) == {"array": [[0, 1], [2, 3], [4, 5]]}
    assert wfe("show", "things:write.path", "--save", "copy.txt").code == 0
    assert (project.root / "copy.txt").read_text() == "9\n"
    done = wfe("show", "things:array.array", "--save", "a.png")
    assert (done.code, done.err) == (2, "a.png: an array is saved as .npy or .json\n")
    for folder in (".", "out", "/"):
        done = wfe("show", "things:array", "--save", folder)
        assert (done.code, done.err) == (2, f"{folder}: --save takes a file, and this is a directory\n")
    done = wfe("show", "things:array.arary")
    assert done.code == 2 and done.err == "things:array: the result has no 'arary', it has 'array'\n"


ODD = """
import numpy

from wfe import workflow_node


@workflow_node()
def gives() -> dict:
    waves = numpy.array([1 + 2j, float("nan")])
    return {"ratios": [float("nan"), {"most": float("inf")}, -float("inf"), 0.5, None], "waves": waves}
"""


def test_numbers_that_json_lacks_are_shown_as_texts(project: ProjectUnderTest, wfe) -> None:
    """Python's own NaN is no JSON to any other reader; complex numbers could not be saved at all."""
    project.node("odd", ODD)
    project.write(
        "workflows/odd.yaml", "workflow: {params: {least: .nan}}\nnodes:\n  - {id: one, function: odd.gives}\n"
    )
    wfe("run", "odd")

    def read(text: str) -> object:
        return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))

    ratios, waves = ["nan", {"most": "inf"}, "-inf", 0.5, None], ["(1+2j)", "(nan+0j)"]
    for more in ([], ["--json"]):
        told = {"ratios": ratios, "waves": {"dtype": "complex128", "shape": [2], "preview": waves}}
        assert read(wfe("show", "odd:one", *more).out) == told
    assert wfe("show", "odd:one", "--save", "one.json").code == 0
    assert read((project.root / "one.json").read_text()) == {"ratios": ratios, "waves": waves}
    listed = [read(line) for line in wfe("list", "--json").out.splitlines()]
    assert next(one["params"] for one in listed if one["workflow"] == "odd") == {"least": "nan"}


def test_log_and_its_tail(project: ProjectUnderTest, wfe) -> None:
    wfe("run", "sum")
    assert wfe("log", "sum:read").out == "reading in.txt\n"
    assert wfe("log", "sum:read", "--tail", "1").out == "reading in.txt\n"
    assert wfe("log", "sum:add").err == "step 'add' printed nothing when it last ran\n"


EACH = """
import sys

from wfe import workflow_node


@workflow_node()
def says(item: int, quiet: bool = False) -> None:
    if not quiet:
        print("first of", item)
        print("last of", item, file=sys.stderr)
    if item == 2:
        raise ValueError("no 2")
"""


def test_the_log_of_a_fan_is_that_of_its_steps(project: ProjectUnderTest, wfe) -> None:
    """It said that there is none, and named one of its steps."""
    project.node("each", EACH)
    fan = {"id": "each", "function": "each.says", "foreach": [1, 2], "inputs": {"item": "$item"}}
    project.workflow("fan", [fan])
    wfe("run", "fan", "--continue")
    heads = ["==> each[1] <==\n", "\n==> each[2] <==\n"]
    assert wfe("log", "fan:each").out == "".join(
        f"{head}first of {item}\nlast of {item}\n" for item, head in enumerate(heads, 1)
    )
    assert wfe("log", "fan:each", "--tail", "1").out == f"{heads[0]}last of 1\n{heads[1]}last of 2\n"
    fan["inputs"]["quiet"] = True
    project.workflow("quiet", [fan])
    wfe("run", "quiet", "--continue")
    done = wfe("log", "quiet:each")
    assert (done.code, done.out, done.err) == (0, "", "step 'each' printed nothing when it last ran\n")


def test_validate_tells_the_problems_of_all_workflows(project: ProjectUnderTest, wfe) -> None:
    assert wfe("validate").out == "1 of 1 workflows valid\n"
    project.workflow("one", nodes=[{"id": "a", "function": "some.totl", "inputs": {"numbers": []}}])
    project.workflow("two", nodes=[{"id": "a", "function": "some.total", "inputs": {"numbers": 3}}, {"id": "a"}])
    done = wfe("validate")
    assert done.code == 3
    assert done.out.splitlines() == [
        "workflows/one.json:8:19: step 'a': unknown function 'some.totl'; did you mean 'some.total'?",
        "workflows/two.json:10:20: step 'a': input 'numbers' must be list, found a whole number (3)",
        "workflows/two.json:13:5: node 'a' has no 'function'; name one of nodes/, like 'vision.detect.detect'",
        "workflows/two.json:14:13: node id 'a' is used twice; first at workflows/two.json:7:13",
        "1 of 3 workflows valid, 4 problems",
    ]
    rows = {one["workflow"]: one for one in wfe("validate", "--json").lines()}
    assert rows["sum"]["valid"] and not rows["one"]["valid"] and rows["one"]["problems"][0]["line"] == 8


def test_validate_tells_of_a_pool_that_is_too_small_for_a_step(project: ProjectUnderTest, wfe) -> None:
    step = {"id": "a", "function": "some.total", "inputs": {"numbers": []}, "resources": {"gpu": 2}}
    project.workflow("sum", nodes=[step], settings={"pools": {"gpu": 1}})
    done = wfe("validate")
    assert done.code == 3
    assert done.out.splitlines()[0].startswith("step 'a' asks for 2 of pool 'gpu', which has 1; give the pool more: ")
    project.workflow("sum", nodes=[step], settings={"pools": {"gpu": 2}})
    assert wfe("validate").code == 0


def test_validate_without_the_value_of_a_required_parameter(project: ProjectUnderTest, wfe) -> None:
    nodes = [
        {"id": "read", "function": "some.numbers", "inputs": {"source": "${path}"}},
        {"id": "add", "function": "some.total", "inputs": {"numbers": "$read.numbers", "puls": 1}},
    ]
    project.workflow("asks", params={"path": {"type": "string", "required": True}}, nodes=nodes)
    done = wfe("validate", "asks")
    assert done.code == 3 and "no file" not in done.out and "has no input 'puls'" in done.out
    assert "give --set path=..." in done.out
    nodes[1]["inputs"] = {"numbers": "$read.numbers"}
    project.workflow("asks", params={"path": {"type": "string", "required": True}}, nodes=nodes)
    assert wfe("validate", "asks").code == 0
    done = wfe("validate", "asks", "--set", "path=gone.txt")
    assert "there is no file 'gone.txt'" in done.out
    done = wfe("run", "asks")
    assert done.code == 3 and done.err.count("\n") == 1 and "parameter 'path' has no value" in done.err


def test_init_makes_a_project_that_runs_through_both_doors(tmp_path: Path, wfe) -> None:
    assert wfe("init", "fresh", cwd=tmp_path).code == 0
    fresh = tmp_path / "fresh"
    assert wfe("run", "hello", "--json", cwd=fresh).lines()[-1]["ran"] == 3
    assert (fresh / "out" / "greeting.txt").read_text().startswith("Hello world!")
    assert wfe("validate", cwd=fresh).code == 0
    done = subprocess.run(
        [sys.executable, "-m", "doit", "run", "workflow=hello"], cwd=fresh, capture_output=True, text=True
    )
    assert done.returncode == 0 and "3 current" in done.stdout, done.stderr
    again = wfe("init", "fresh", cwd=tmp_path)
    assert again.code == 2 and "exists already; nothing was written" in again.err
    schema = json.loads((fresh / "workflow.schema.json").read_text())
    assert schema["title"] == "wfe workflow"


def test_clean_deletes_files_that_the_next_run_restores(project: ProjectUnderTest, wfe) -> None:
    wfe("run", "sum")
    out = project.root / "out" / "sum.txt"
    assert "out/sum.txt" in wfe("clean", "sum", "write", "--dry-run").out and out.exists()
    assert "out/sum.txt" in wfe("clean", "sum", "write").out and not out.exists()
    assert wfe("run", "sum", "--json").lines()[-1]["restored"] == 1 and out.exists()
    wfe("clean", "sum", "write", "--forget")
    assert wfe("run", "sum", "--json").lines()[-1]["ran"] == 1


@pytest.mark.parametrize(
    "command",
    [
        ["wfe", "clean", "sum", "--forget"],
        ["wfe", "clean", "sum", "write", "--forget"],
        ["doit", "forget", "workflow=sum"],
    ],
    ids=" ".join,
)
def test_what_a_killed_run_left_is_forgotten_too(project: ProjectUnderTest, wfe, command: list[str]) -> None:
    wfe("run", "sum")
    workspace = Workspace(Project.at(project.root))
    key = Traces.row(workspace.state.get("step", "write", "sum")).key
    trace = workspace.traces.find(key)
    assert trace is not None
    workspace.forget("sum", "write")
    workspace.traces.take_in(key, trace, "sum", "write")
    workspace.close()
    project.write("dodo.py", "from wfe.dodo import open_project\nDOIT_CONFIG, task_workflow = open_project(__file__)\n")
    subprocess.run([sys.executable, "-m", *command], cwd=project.root, check=True, capture_output=True)
    assert wfe("run", "sum", "--json").lines()[-1]["restored"] == 0


def test_check_names_the_outputs_that_differ(project: ProjectUnderTest, wfe) -> None:
    project.workflow("dice", nodes=[{"id": "roll", "function": "some.chance"}])
    done = wfe("check", "--twice", "dice:roll")
    assert done.code == 1
    assert done.out.splitlines()[0].startswith("roll.number differs: ") and "roll.fixed" not in done.out
    done = wfe("check", "sum:add")
    assert (done.code, done.out) == (0, "add: the same twice\n")
    project.workflow(
        "fan", nodes=[{"id": "f", "function": "some.double", "foreach": [1, 2], "inputs": {"item": "$item"}}]
    )
    for target, said in (
        ("fan:f", "'f' is a fan; name one of its steps; f[1], f[2]"),
        ("fan:f[_]", "workflow 'fan' has no step 'f[_]'; did you mean 'f[2]'?"),
        ("sum:add[1]", "workflow 'sum' has no step 'add[1]'; did you mean 'add'?"),
    ):
        done = wfe("check", "--twice", target)
        assert (done.code, done.err) == (2, f"{said}\n")


def test_verify_drops_a_damaged_blob_and_the_next_run_makes_it_again(project: ProjectUnderTest, wfe) -> None:
    project.workflow("big", nodes=[{"id": "array", "function": "some.array", "inputs": {"size": 100}}])
    wfe("run", "big")
    assert wfe("verify").out.endswith("all sound\n")
    [blob] = [path for path in (project.root / "cache" / "blobs").rglob("*") if path.is_file()]
    before = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\xff")
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = wfe("verify")
    assert done.code == 4 and "big:array" in done.out and "1 damaged (deleted)" in done.out and not blob.exists()
    assert wfe("run", "big", "--json").lines()[-1]["ran"] == 1
    assert wfe("verify", "--json").lines()[-1]["damaged"] == 0


def test_doctor_looks_over_machine_and_project(wfe) -> None:
    rows = {one["what"]: one for one in wfe("doctor", "--json").lines()}
    assert rows["project"]["found"].endswith("1 workflows") and rows["store"]["level"] == "ok"
    assert {"Python", "platform", "doit", "cache", "free space"} <= set(rows)


def test_completion_offers_workflows_parameters_and_steps(project: ProjectUnderTest, wfe) -> None:
    def offered(line: str) -> list[str]:
        done = wfe(_WFE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(line.split(" ")) - 1))
        assert done.err == ""
        return done.out.split()

    assert offered("wfe ru") == ["run", "runs"]
    assert offered("wfe run s") == ["sum"]
    assert offered("wfe run sum a") == ["add"]
    assert offered("wfe run sum --set p") == ["plus="]
    assert offered("wfe show sum:w") == ["sum:write"]
    assert offered("wfe run nothing x") == []
    project.workflow("whole", [{"id": "part", "include": "sum", "inputs": {"plus": "${none}"}}])
    assert offered("wfe run whole p") == [f"part__{name}" for name in ("read", "add", "half", "write")]
    assert offered("wfe show whole:part__w") == ["whole:part__write"]


def test_graph_forms(wfe) -> None:
    assert wfe("graph", "sum", PYTHONIOENCODING="utf-8").out.splitlines() == [
        "sum",
        "read  some.numbers",
        "\u2514\u2500 add  some.total",
        "   \u2514\u2500 half  some.half",
        "      \u2514\u2500 write  some.write",
    ]
    assert "|" not in wfe("graph", "sum", PYTHONIOENCODING="ascii").out
    assert '  s0["read<br/><small>some.numbers</small>"]' in wfe("graph", "sum", "-f", "mermaid").out
    assert '  "read" -> "add";' in wfe("graph", "sum", "--format", "dot").out


def _steps(needs: dict[str, tuple[str, ...]]) -> dict[str, Step]:
    return {name: Step(name, "nodes.f", needs=others) for name, others in needs.items()}


def test_a_diamond_is_drawn_once_and_says_what_else_it_needs() -> None:
    drawn = draw.tree(_steps({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}), ascii_only=True)
    assert drawn == "a  f\n|- b  f\n`- c  f\n   `- d  f  (also needs b)\n"


def test_a_lattice_is_drawn_in_lines_of_its_size_and_many_alike_in_one() -> None:
    needs: dict[str, tuple[str, ...]] = {f"0_{i}": () for i in range(20)}
    for layer in range(1, 30):
        needs.update({f"{layer}_{i}": (f"{layer - 1}_{i}", f"{layer - 1}_{(i + 1) % 20}") for i in range(20)})
    assert len(draw.tree(_steps(needs)).splitlines()) <= len(needs)
    fan = {"a": (), **{f"x{i}": ("a",) for i in range(1000)}}
    assert draw.tree(_steps(fan), ascii_only=True) == "a  f\n`- x0 and 999 like it  f\n"
    chain = {f"s{i}": (f"s{i - 1}",) if i else () for i in range(5000)}
    lines = draw.tree(_steps(chain)).splitlines()
    assert len(lines) == 5000 and max(map(len, lines)) < 120


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", ("a", "", ())),
        ("a:b", ("a", "b", ())),
        ("a:b.c.0.d", ("a", "b", ("c", 0, "d"))),
        ("a:b[x.png].image", ("a", "b[x.png]", ("image",))),
        ("a:b[x.png]", ("a", "b[x.png]", ())),
        ("dir/a.json:b", ("dir/a.json", "b", ())),
        ("a:b.².007", ("a", "b", ("²", "007"))),
        ("a:b." + "1" * 5000, ("a", "b", ("1" * 5000,))),
    ],
)
def test_addresses(text: str, found: tuple[object, ...]) -> None:
    assert address(text) == found


def test_amounts() -> None:
    assert [amount.size(text) for text in ("2GB", "500 MB", "1KiB", "7")] == [2 * 10**9, 5 * 10**8, 1024, 7]
    assert [amount.age(text) for text in ("30d", "12h", "90 min", "1w")] == [2592000, 43200, 5400, 604800]
    assert [amount.shown(number) for number in (0, 999, 1500, 1.5e9)] == ["0 B", "999 B", "1.5 KB", "1.5 GB"]
    for wrong in ("", "d", "-1d", "1 year"):
        with pytest.raises(WfeError):
            amount.age(wrong)


def test_a_lock_file_that_cannot_be_read_is_told(project: ProjectUnderTest, wfe) -> None:
    """It looked as if nothing were locked yet."""
    project.write("workflows/environments.lock.json", "<<<<<<< HEAD\n")
    for line in (("env", "list"), ("doctor",)):
        done = wfe(*line)
        assert done.code == 4 and "environments.lock.json:1:1: not JSON" in done.out + done.err


def test_a_cache_that_cannot_be_used_is_not_called_sound(project: ProjectUnderTest, wfe) -> None:
    wfe("run", "sum")
    shutil.rmtree(project.root / "cache")
    (project.root / "cache").write_text("")
    for line in (("verify",), ("collect", "--yes"), ("clean", "sum")):
        done = wfe(*line)
        assert done.code == 4 and "cannot be written to" in done.err, done


def test_the_command_for_a_failed_step_repeats_the_run(project: ProjectUnderTest, wfe) -> None:
    project.node(
        "fails", "from wfe import workflow_node\n@workflow_node\ndef fails(n: str):\n    raise ValueError(n)\n"
    )
    project.workflow("f", [{"id": "f", "function": "fails.fails", "inputs": {"n": "${n}"}}], params={"n": "a"})
    done = wfe("run", "f", "--set", "n={b} c")
    assert "again, alone: wfe run f f --inline --pdb --set 'n={b} c'\n" in done.out


def test_init_into_a_variable_that_is_not_set(project: ProjectUnderTest, wfe) -> None:
    before = sorted(project.root.iterdir())
    done = wfe("init", "")
    assert done.code == 2 and "DIR is empty" in done.err and sorted(project.root.iterdir()) == before
