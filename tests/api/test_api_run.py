"""`wfe.run` and its report, and the fixture for users' tests."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy
import pytest

import wfe
from wfe.core.outcome import Event, RunFinished, StepFinished, StepState
from wfe.errors import ExitCode, NodeFailure, WfeError, WorkflowError
from wfe.testing import ProjectUnderTest

SOURCE = '''
from pathlib import Path

from wfe import Output, Skip, workflow_node


@workflow_node()
def make(size: int, path: Output) -> dict:
    """An array, a file, bytes and plain values."""
    import numpy

    path.write_text("x" * size)
    return {"array": numpy.arange(size), "data": b"abc", "path": path, "size": size, "deep": [{"one": 1}]}


@workflow_node()
def grow(array) -> dict:
    return {"sum": int(array.sum())}


@workflow_node()
def raises(text: str = "no") -> dict:
    raise ValueError(text)


@workflow_node()
def skips() -> dict:
    raise Skip("no camera")


@workflow_node()
def square(item: int) -> dict:
    return {"square": item * item}
'''


@pytest.fixture
def project(wfe_project: ProjectUnderTest) -> ProjectUnderTest:
    wfe_project.node("things", SOURCE)
    wfe_project.workflow(
        "w",
        params={"size": 3},
        nodes=[
            {"id": "make", "function": "things.make", "inputs": {"size": "${size}", "path": "out/x.txt"}},
            {"id": "grow", "function": "things.grow", "inputs": {"array": "$make.array"}},
        ],
    )
    return wfe_project


def test_a_report_gives_values_arrays_files_and_states(project: ProjectUnderTest) -> None:
    report = wfe.run("w", project=project.root)
    assert isinstance(report, wfe.Report) and report.ok and report.code is ExitCode.OK
    assert report.ran == ["make", "grow"] == list(report) and report.current == report.failed == []
    made = report["make"]
    assert made["size"] == 3 and made["deep"] == [{"one": 1}] and made["data"] == b"abc"
    assert type(made["array"]) is numpy.ndarray and made["array"].tolist() == [0, 1, 2]
    assert not made["array"].flags.writeable and made["array"].base is not None
    assert made["path"] == project.root / "out" / "x.txt" == report.files("make")["path"]
    assert report["grow"] == {"sum": 3} and report.seconds > 0 and "w: 2 ran" in repr(report)
    assert wfe.run("w", project=project.root).current == ["make", "grow"]


def test_a_report_keeps_the_results_of_its_own_run(project: ProjectUnderTest) -> None:
    first = project.run("w")
    second = project.run("w", size=5)
    assert project.ran("make", "grow")
    assert first["make"]["array"].tolist() == [0, 1, 2] and second["make"]["array"].size == 5
    assert first["make"]["path"].read_text() == "xxx" and second["make"]["path"].read_text() == "xxxxx"
    assert project.run("w").restored == ["make", "grow"] and project.nothing_ran


def test_a_report_does_not_read_what_a_later_run_made_of_the_same_inputs(project: ProjectUnderTest) -> None:
    project.node(
        "chance", "import uuid\nfrom wfe import workflow_node\n@workflow_node\ndef draw(): return uuid.uuid4().hex\n"
    )
    project.workflow("chance", nodes=[{"id": "draw", "function": "chance.draw"}])
    first = project.run("chance")
    assert first["draw"]
    second = project.run("chance", force=True)
    with pytest.raises(KeyError, match="not in the store any more"):
        first["draw"]
    assert second["draw"]


def test_unknown_steps_and_names_are_told(project: ProjectUnderTest) -> None:
    report = project.run("w", steps=["make"])
    assert list(report) == ["make"]
    with pytest.raises(KeyError, match="had no step 'mkae'; did you mean 'make'"):
        report["mkae"]
    with pytest.raises(KeyError, match="the run of 'w' had no step 'grow'"):
        report["grow"]  # the workflow has it, so who reads that it has not is led astray
    assert list(project.run("w", steps="make", force="make")) == ["make"] and project.ran("make")
    with pytest.raises(WorkflowError, match="there is no workflow 'v'"):
        project.run("v")
    with pytest.raises(WorkflowError, match="has no parameter 'sze'; did you mean 'size'"):
        project.run("w", sze=3)
    with pytest.raises(WorkflowError, match="has no step 'grw'; did you mean 'grow'"):
        project.run("w", steps=["grw"])
    with pytest.raises(WorkflowError, match="has no step 'grw'"):
        project.run("w", force=["grw"])
    with pytest.raises(WfeError, match="step 'grow' cannot be forced: it is not among the chosen"):
        project.run("w", steps=["make"], force=["grow"])
    with pytest.raises(WfeError, match="is in no wfe project"):
        wfe.run("w", project=project.root.parent)


def test_values_of_parameters_are_json(project: ProjectUnderTest) -> None:
    project.node("echo", "from wfe import workflow_node\n@workflow_node()\ndef echo(n):\n    return {'n': n}\n")
    project.workflow("echo", [{"id": "echo", "function": "echo.echo", "inputs": {"n": "${n}"}}], params={"n": None})
    for given, taken in (
        (numpy.int64(3), 3),
        (numpy.bool_(True), True),
        (numpy.float32(0.5), 0.5),
        ([numpy.int8(1), (numpy.str_("a"), Path("b"))], [1, ["a", "b"]]),
    ):
        assert project.run("echo", n=given)["echo"]["n"] == taken
    for wrong in (numpy.arange(3), {1}, b"x", [{"a": object()}], numpy.datetime64("2020-01-01")):
        with pytest.raises(WorkflowError, match="parameter 'n': .* is no JSON value; give a text"):
            project.run("echo", n=wrong)


def test_a_failure_raises_with_the_nodes_traceback(project: ProjectUnderTest) -> None:
    nodes = [
        {"id": "bad", "function": "things.raises", "inputs": {"text": "the answer"}},
        {"id": "after", "function": "things.square", "depends_on": ["bad"], "inputs": {"item": 2}},
        {"id": "other", "function": "things.square", "inputs": {"item": 3}},
        {"id": "none", "function": "things.skips"},
    ]
    project.workflow("f", nodes=nodes)
    with pytest.raises(NodeFailure) as caught:
        project.run("f", keep_going=True)
    assert "step 'bad' failed: ValueError: the answer" in str(caught.value)
    assert "nodes/things.py" in str(caught.value).replace("\\", "/") and "raise ValueError(text)" in str(caught.value)
    report: Any = caught.value.report
    assert (report.failed, report.blocked, report.ran, report.skipped) == (["bad"], ["after"], ["other"], ["none"])
    assert report["none"] is None and report["other"] == {"square": 9} and not report.ok
    with pytest.raises(KeyError, match="has no result: failed"):
        report["bad"]
    quiet = project.run("f", keep_going=True, check=False)
    assert quiet.code is ExitCode.FAILED and quiet.counts["failed"] == 1


def test_fans_are_lists_in_the_order_of_their_items(project: ProjectUnderTest) -> None:
    nodes = [{"id": "sq", "function": "things.square", "foreach": "${items}", "inputs": {"item": "$item"}}]
    project.workflow("fan", params={"items": [3, 1, 2]}, nodes=nodes)
    report = project.run("fan", jobs=2)
    assert [one["square"] for one in report["sq"]] == [9, 1, 4]
    assert set(report.ran) == {"sq[3]", "sq[1]", "sq[2]"} and report["sq[2]"] == {"square": 4}
    assert project.run("fan", items=(2, 5)).ran == ["sq[5]"]
    assert project.run("fan", steps=["sq"], items=[7]).counts["ran"] == 1


def test_forced_steps(project: ProjectUnderTest) -> None:
    project.run("w")
    assert project.run("w", force=["make"]).ran == ["make"]
    assert project.run("w", force=True).ran == ["make", "grow"]


def test_nothing_is_printed_unless_asked(project: ProjectUnderTest, capfd: pytest.CaptureFixture[str]) -> None:
    project.run("w")
    assert capfd.readouterr() == ("", "")
    project.run("w", size=4, output="plain")
    assert "w: 2 ran in" in capfd.readouterr().out


def test_listeners_hear_the_run(project: ProjectUnderTest) -> None:
    heard: list[Event] = []

    class Ear:
        def hear(self, event: Event) -> None:
            heard.append(event)

    project.run("w", listeners=[Ear()])
    assert isinstance(heard[-1], RunFinished) and heard[-1].counts[StepState.RAN.value] == 2


def test_runs_in_threads_do_not_mix_and_change_nothing_of_the_process(project: ProjectUnderTest) -> None:
    """doit keeps the backend's run in a class: with one class for all runs, one would record for another."""
    for index in range(4):
        nodes = [
            {"id": "make", "function": "things.make", "inputs": {"size": index + 2, "path": f"out/{index}.txt"}},
            {"id": "grow", "function": "things.grow", "inputs": {"array": "$make.array"}},
            {"id": f"only{index}", "function": "things.square", "inputs": {"item": index}},
        ]
        project.workflow(f"t{index}", nodes=nodes)
    where, stdout = Path.cwd(), sys.stdout
    found: dict[int, Any] = {}

    def go(index: int) -> None:
        found[index] = wfe.run(f"t{index}", project=project.root, jobs=1 + index % 2)

    threads = [threading.Thread(target=go, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        assert found[index]["grow"] == {"sum": sum(range(index + 2))}
        assert found[index][f"only{index}"] == {"square": index * index}
        assert set(found[index]) == {"make", "grow", f"only{index}"}
    assert Path.cwd() == where and sys.stdout is stdout
    for index in range(4):
        assert wfe.run(f"t{index}", project=project.root).current == list(found[index])


def test_a_run_inside_a_listener_of_another_run(project: ProjectUnderTest) -> None:
    inner: list[Any] = []

    class Nested:
        def hear(self, event: Event) -> None:
            if isinstance(event, RunFinished):
                inner.append(wfe.run("w", project=project.root, size=9))

    project.run("w", listeners=[Nested()])
    assert inner[0]["make"]["size"] == 9


def test_a_run_of_the_same_steps_inside_a_listener(project: ProjectUnderTest) -> None:
    """The step after the one that it hears of is not begun yet: nobody could wait for its end."""
    nodes = [{"id": f"s{item}", "function": "things.square", "inputs": {"item": item}} for item in range(9)]
    for name in ("one", "two"):
        project.workflow(name, nodes=nodes)
    inner: list[Any] = []

    class Nested:
        def hear(self, event: Event) -> None:
            if isinstance(event, StepFinished) and event.step == "s4":
                inner.append(wfe.run("two", project=project.root))

    report = wfe.run("one", project=project.root, listeners=[Nested()])
    assert inner[0].restored == report.ran == [f"s{item}" for item in range(5)]
    assert inner[0].ran == report.restored == [f"s{item}" for item in range(5, 9)]


def test_the_name_wfe_run_is_the_function_before_and_after_the_package_of_that_name_is_imported() -> None:
    text = (
        "import inspect, wfe\nbefore = callable(wfe.run)\nimport wfe.engine.project\n"
        "print(before, callable(wfe.run), 'jobs' in inspect.signature(wfe.run).parameters, wfe.engine.project.Project.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env={**os.environ})
    assert done.stdout.split() == ["True", "True", "True", "Project"], done.stderr


def test_the_api_is_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    script = tmp_path / "typed.py"
    script.write_text(
        "import wfe\n\nreport: wfe.Report = wfe.run('x', jobs=2, conf=0.4)\nnames: list[str] = report.ran\n"
        "wfe.run('x', jobs='many')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(script)],
        capture_output=True,
        text=True,
        cwd=Path(wfe.__file__).parent.parent,
    )
    assert done.stdout.count("error:") == 1 and 'typed.py:5: error: Argument "jobs"' in done.stdout, done.stdout


def test_the_fixture_of_the_documentation(pytester_like: Path) -> None:
    """The example in `wfe.testing`, as it stands, is a test that passes."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "none.ini", "."],
        cwd=pytester_like,
        capture_output=True,
        text=True,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def pytester_like(tmp_path: Path) -> Path:
    import textwrap

    import wfe.testing

    text = wfe.testing.__doc__ or ""
    example = text[text.index("    def test_blur") : text.index("The nodes and workflows of your own")]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    (tmp_path / "test_example.py").write_text(textwrap.dedent(example))
    return tmp_path


def test_failures_are_told_on_stdout_when_the_caller_does_not_want_an_exception(
    project: ProjectUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.workflow("f", nodes=[{"id": "bad", "function": "things.raises"}])
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    project.run("f", check=False)
    assert "ValueError: no" in stream.getvalue()


class Hears:
    def hear(self, event: Event) -> None:
        raise AssertionError("nothing was run")


@pytest.mark.parametrize(
    ("workflow", "options", "said"),
    [
        (None, {}, "the workflow: None is neither a text nor a path; name one"),
        (b"w", {}, "the workflow: b'w' is neither a text nor a path; name one"),
        ("w", {"project": None}, "project: None is neither a text nor a path; name one"),
        ("w", {"steps": 3}, "steps: 3 is no step's name; give a text, or a list of texts"),
        ("w", {"steps": ["make", None]}, "steps: None is no step's name; give a text, or a list of texts"),
        ("w", {"force": None}, "force: None is no step's name; give a text, or a list of texts"),
        ("w", {"params": {"size": 1}, "size": 2}, "parameter 'size' is given in params and as a keyword; leave one out"),
        ("w", {"params": [1]}, "params: [1] is no mapping of names to values; give a dict: {\"size\": 3}"),
        ("w", {"listeners": 3}, "listeners: 3 is no list of listeners; give a list, of one too"),
        ("w", {"listeners": [len]}, "listeners: <built-in function len> is no listener; give an object with a method `hear(event)`"),
        ("w", {"listeners": [Hears]}, f"listeners: {Hears!r} is no listener; give an object with a method `hear(event)`"),
        ("w", {"output": None}, "output: None is no mode; say one of auto, plain, live, json, quiet"),
    ],
)  # fmt: skip
def test_an_argument_that_is_none_is_told(
    project: ProjectUnderTest, workflow: Any, options: dict[str, Any], said: str
) -> None:
    """And not by an error of Python's from the middle of the run, nor by taking one of two values."""
    with pytest.raises(WfeError) as caught:
        wfe.run(workflow, **{"project": project.root, "listeners": [Hears()], **options})
    assert (caught.value.code, str(caught.value)) == (ExitCode.USAGE, said)
