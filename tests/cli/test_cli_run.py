"""`wfe run`, `why`, `--dry-run`: counts, exit codes, what is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from wfe.testing import ProjectUnderTest


def test_a_run_its_repetition_and_what_an_edit_reaches(project: ProjectUnderTest, wfe) -> None:
    first = wfe("run", "sum", "--json")
    assert first.code == 0 and first.err == ""
    last = first.lines()[-1]
    assert (last["event"], last["ran"], last["failed"]) == ("run-finished", 4, 0)
    assert set(last) >= {"ran", "restored", "current", "skipped", "failed", "blocked", "seconds"}
    assert wfe("run", "sum", "--json").lines()[-1]["current"] == 4
    # 3 numbers still add up to the same thousandth: early cutoff before `write`.
    project.write("in.txt", "1 2 4\n")
    last = wfe("run", "sum", "--json").lines()[-1]
    assert (last["ran"], last["current"]) == (3, 1)
    project.write("in.txt", "1 2 3\n")
    last = wfe("run", "sum", "--json").lines()[-1]
    assert (last["ran"], last["restored"] + last["current"]) == (0, 4)


def test_plain_lines_end_with_a_summary(wfe) -> None:
    done = wfe("run", "sum")
    assert [line.split()[:2] for line in done.out.splitlines()[:-1]] == [
        ["ran", "read"],
        ["ran", "add"],
        ["ran", "half"],
        ["ran", "write"],
    ]
    assert done.out.splitlines()[-1].startswith("sum: 4 ran in ")
    assert wfe("run", "sum", "--quiet").out == ""


def test_only_a_step_and_what_it_needs(wfe) -> None:
    last = wfe("run", "sum", "add", "--json").lines()[-1]
    assert last["ran"] == 2 and sum(last[state] for state in ("ran", "current", "blocked", "cancelled")) == 2


def test_forced_steps_run_although_they_are_current(wfe) -> None:
    wfe("run", "sum")
    last = wfe("run", "sum", "--force", "read", "--json").lines()[-1]
    assert last["ran"] == 1 and last["current"] == 3
    assert wfe("run", "sum", "--force-all", "--json").lines()[-1]["ran"] == 4


def test_a_failure_blocks_what_depends_on_it_and_exits_with_1(project: ProjectUnderTest, wfe) -> None:
    project.workflow(
        "bad",
        nodes=[
            {"id": "a", "function": "some.fails", "inputs": {"total": 7}},
            {"id": "b", "function": "some.half", "depends_on": ["a"], "inputs": {"total": 1}},
            {"id": "c", "function": "some.array"},
        ],
    )
    done = wfe("run", "bad", "--continue", "--junit", "j.xml", "--summary", "s.md", "--page", "p.html")
    assert done.code == 1
    assert "ValueError: the total is 7" in done.out and "again, alone: wfe run bad a --inline --pdb" in done.out
    assert "1 ran" in done.out and "1 failed (a)" in done.out and "1 blocked" in done.out
    assert 'failures="1"' in (project.root / "j.xml").read_text()
    assert "bad" in (project.root / "s.md").read_text() and "<html" in (project.root / "p.html").read_text()
    assert wfe("log", "bad:a").out == "about to fail\n"
    assert wfe("runs", "bad").out.splitlines()[1].split()[1] == "bad"
    assert json.loads(wfe("timeline").out)["traceEvents"]
    assert "<html" in wfe("report").out


def test_a_run_that_a_failure_ended_has_failed_for_all_who_look_back(project: ProjectUnderTest, wfe) -> None:
    nodes = [{"id": "a", "function": "some.fails"}, {"id": "b", "function": "some.array"}]
    project.workflow("bad", nodes=nodes)
    done = wfe("run", "bad", "--summary", "s.md")
    assert done.code == 1 and "bad: 1 failed (a), 1 cancelled" in done.out
    assert wfe("runs", "--json").lines()[0]["ending"] == "failed"
    assert "  failed  1 failed, 1 cancelled" in wfe("runs").out
    assert "<title>bad failed</title>" in wfe("report").out
    assert "### bad failed" in (project.root / "s.md").read_text()


def test_inline_runs_in_this_process_and_pdb_stops_where_it_fails(project: ProjectUnderTest, wfe) -> None:
    project.workflow("bad", nodes=[{"id": "a", "function": "some.fails"}])
    done = wfe("run", "bad", "a", "--inline", "--pdb", stdin="p 'here', total\nq\n")
    assert done.code == 1
    assert "('here', 0)" in done.out and "(Pdb)" in done.out


def test_a_dry_run_says_what_a_run_then_does(project: ProjectUnderTest, wfe) -> None:
    assert wfe("run", "sum", "--dry-run").out.splitlines()[:2] == [
        "run       read  it has no result yet",
        "unknown   add  until read",
    ]
    wfe("run", "sum")
    wfe("run", "sum", "--set", "plus=1")
    words = {one["step"]: one["state"] for one in wfe("run", "sum", "--dry-run", "--json").lines()[:-1]}
    assert words == {"read": "current", "add": "restore", "half": "restore", "write": "current"}
    done = wfe("why", "sum:add", "--set", "plus=5")
    assert done.out.splitlines()[:2] == ["add: run", "  input 'plus': 1 -> 5"]
    last = wfe("run", "sum", "--json").lines()[-1]
    assert (last["restored"], last["current"]) == (2, 2)


def test_an_unknown_step_tells_what_has_changed_of_it_already(project: ProjectUnderTest, wfe) -> None:
    wfe("run", "sum")
    project.write("in.txt", "5\n")
    done = wfe("why", "sum:add", "--set", "plus=2", "--json")
    [one] = done.lines()
    assert one["state"] == "unknown" and one["until"] == ["read"]
    assert one["reasons"] == [{"part": "input 'plus'", "old": "0", "new": "2"}]


def test_a_restored_file_counts_with_the_content_to_come(project: ProjectUnderTest, wfe) -> None:
    """`count` reads the file that `write` publishes: a forecast must not look at the old file that still stands there."""
    project.node("more", "from pathlib import Path\nfrom wfe import workflow_node\n\n\n@workflow_node()\n"
                 "def count(path: Path) -> dict:\n    return {'bytes': len(path.read_bytes())}\n")  # fmt: skip
    project.workflow(
        "file",
        params={"n": 1},
        nodes=[
            {"id": "write", "function": "some.write", "inputs": {"total": "${n}", "path": "out/f.txt"}},
            {"id": "count", "function": "more.count", "inputs": {"path": "$write.path"}},
        ],
    )
    wfe("run", "file")
    wfe("run", "file", "--set", "n=1000")
    words = {one["step"]: one["state"] for one in wfe("run", "file", "--dry-run", "--json").lines()[:-1]}
    assert words == {"write": "restore", "count": "restore"}
    last = wfe("run", "file", "--json").lines()[-1]
    assert (last["ran"], last["restored"]) == (0, 2)


def test_what_is_in_a_directory_is_not_foretold_before_a_file_is_put_there(project: ProjectUnderTest, wfe) -> None:
    """`names` was told to be current, by the files that stand there now, and ran."""
    project.node("more", "from pathlib import Path\nfrom wfe import workflow_node\n\n\n@workflow_node()\n"
                 "def names(d: Path) -> dict:\n    return {'texts': [one.read_text() for one in d.iterdir()]}\n")  # fmt: skip
    project.workflow(
        "file",
        params={"n": 1},
        nodes=[
            {"id": "write", "function": "some.write", "inputs": {"total": "${n}", "path": "out/f.txt"}},
            {"id": "names", "function": "more.names", "inputs": {"d": "out"}},
        ],
    )
    wfe("run", "file")
    wfe("run", "file", "--set", "n=1000")

    def foretold() -> dict[str, str]:
        return {one["step"]: one["state"] for one in wfe("run", "file", "--dry-run", "--json").lines()[:-1]}

    assert foretold() == {"write": "restore", "names": "unknown"}
    last = wfe("run", "file", "--json").lines()[-1]
    assert (last["ran"], last["restored"]) == (0, 2)
    assert foretold() == {"write": "current", "names": "current"}


def test_fans_and_conditions_are_foretold(project: ProjectUnderTest, wfe) -> None:
    project.workflow(
        "fan",
        params={"items": [1, 2], "deep": False},
        nodes=[
            {"id": "two", "function": "some.double", "foreach": "${items}", "inputs": {"item": "$item"}},
            {"id": "all", "function": "some.total", "inputs": {"numbers": "$two.doubled"}},
            {"id": "maybe", "function": "some.array", "when": "${deep}"},
        ],
    )
    first = {one["step"]: one["state"] for one in wfe("why", "fan", "--json").lines()[:-1]}
    assert first == {"two[1]": "run", "two[2]": "run", "all": "unknown", "maybe": "skip"}
    assert wfe("run", "fan", "--json").lines()[-1]["ran"] == 3
    assert json.loads(wfe("show", "fan:two.doubled").out) == [2, 4]
    more = {one["step"]: one["state"] for one in wfe("why", "fan", "--set", "items=[2, 3]", "--json").lines()[:-1]}
    assert more == {"two[2]": "current", "two[3]": "run", "all": "unknown", "maybe": "skip"}
    assert wfe("run", "fan", "two", "--set", "items=[1, 2, 3]", "--json").lines()[-1]["ran"] == 1
    assert "two[1]" in wfe("list", "fan").out


OUTSIDE = "step 'half' cannot be forced: it is not among the chosen steps, nor needed by one; choose it too\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "smu"], 3, "there is no workflow 'smu'; did you mean 'sum'?\n"),
        (["run", "sum", "wirte"], 3, "workflow 'sum' has no step 'wirte'; did you mean 'write'?\n"),
        (["run", "sum", "--force", "ad"], 3, "workflow 'sum' has no step 'ad'; did you mean 'add'?\n"),
        (["run", "sum", "--set", "plus"], 2, "--set takes name=value, found 'plus'\n"),
        (["run", "sum", "--set", "p=1"], 3, "workflows/sum.json: workflow 'sum' has no parameter 'p'; known: plus, source\n"),
        (["run", "sum", "--set", "plus=x"], 3, "command line: parameter 'plus': expected number, found 'x'\n"),
        (["run", "sum", "--json", "--quiet"], 2, "--json and --quiet exclude each other\n"),
        (["run", "sum", "--live"], 2, "the live display is not possible here: the output is no terminal; use --plain\n"),
        (["run", "sum", "--junit", "no/j.xml"], 2, "no/j.xml: there is no directory 'no'\n"),
        (["run", "sum", "--junit", "nodes"], 2, "nodes is a directory; name a file\n"),
        (
            ["run", "sum", "--junit", "j.xml", "--dry-run"],
            2,
            "--dry-run makes no report; leave out --junit, --summary and --page\n",
        ),
        (["run", "sum", "-q", "-v"], 2, "--quiet and --verbose exclude each other\n"),
        (["why", "sum:ad"], 3, "workflow 'sum' has no step 'ad'; did you mean 'add'?\n"),
        (["log", "sum"], 2, "'sum' names no step; say sum:STEP; `wfe list sum` lists them\n"),
        (["show", "sum:add"], 2, "step 'add' has no result yet; run it: wfe run sum add\n"),
        (["show", "sum:ad"], 3, "workflow 'sum' has no step 'ad'; did you mean 'add'?\n"),
        (["show", "sum:1+"], 2, "'sum:1+' is not of the form WORKFLOW:STEP.key\n"),
        (["collect", "--older-than", "3"], 2, "'3' is no age; write it like 30d, 12h or 90min\n"),
        (["collect", "--to-size", "big"], 2, "'big' is no size; write it like 500MB or 2GB\n"),
        (["-C", "nowhere", "list"], 2, "--project: there is no directory 'nowhere'\n"),
        (["timeline", "2020"], 3, None),
        (["run", "n" * 300], 3, f"there is no workflow '{'n' * 300}'; known: sum\n"),
        (["log", "sum:" + "n" * 300], 3, None),
        (["-C", "n" * 300, "list"], 2, f"{'n' * 300}: File name too long; give a shorter name\n"),
        (["run", "sum", "add", "--force", "half"], 2, OUTSIDE),
        (["run", "sum", "add", "--force", "half", "--dry-run"], 2, OUTSIDE),
        (["run", "sum:ad"], 3, "workflow 'sum' has no step 'ad'; did you mean 'add'?\n"),
        (["run", "sum:add.x"], 2, "add.x: a step is run as a whole; name the step alone\n"),
        (["log", "sum:add.x"], 2, "'sum:add.x': a log is of a whole step; say sum:add\n"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_line(wfe, words: list[str], code: int, said: str | None) -> None:
    done = wfe(*words)
    assert done.code == code
    assert "Traceback" not in done.err and "BUG" not in done.err and done.err
    if said is not None:
        assert done.err == said and done.out == ""


def test_a_wrong_command_line_exits_with_2(wfe) -> None:
    done = wfe("rnu", "sum")
    assert done.code == 2 and "there is no verb 'rnu'; did you mean 'run'?" in done.err
    assert wfe("run", "sum", "--jobz", "2").code == 2
    assert wfe("run").code == 2


def test_outside_a_project(wfe, tmp_path) -> None:
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    done = wfe("list", cwd=lonely)
    assert done.code == 3 and "`wfe init` begins one" in done.err


def test_an_error_in_wfe_itself_shows_a_traceback_and_exits_with_70(capsys: pytest.CaptureFixture[str]) -> None:
    from wfe.cli.ending import ended

    def breaks() -> int:
        raise RuntimeError("impossible")

    assert ended(breaks) == 70
    said = capsys.readouterr().err
    assert "RuntimeError: impossible" in said and "BUG: this is an error in wfe itself" in said


def test_a_reader_that_goes_away_is_no_failure(project: ProjectUnderTest, wfe) -> None:
    wfe("run", "sum")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "wfe", "show", "sum"], cwd=project.root, stdout=out, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["list"], ["--help"], ["run", "sum"], ["run", "sum", "--json"], ["show", "sum:add"]])
def test_a_stdout_that_is_full_is_told(wfe, project: ProjectUnderTest, words: list[str], unbuffered: str) -> None:
    wfe("run", "sum")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "wfe", *words],
            cwd=project.root,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    said = "stdout cannot be written: No space left on device; make room, or send it elsewhere\n"
    assert (done.returncode, done.stderr) == (4, said)


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes them")
def test_without_stdin_stdout_and_stderr(project: ProjectUnderTest) -> None:
    def code(words: str) -> int:
        return subprocess.run(["sh", "-c", f'"$0" -m wfe {words}', sys.executable], cwd=project.root).returncode

    assert code("run sum --force-all <&- >&- 2>&-") == 0
    assert code("list >&-") == 0
    assert code("run nope >&- 2>&-") == 3


def test_hints_can_be_given_to_a_shell(project: ProjectUnderTest, wfe) -> None:
    nodes = [{"id": "add", "function": "some.total", "inputs": {"numbers": []}, "resources": {"big gpu": "4 GB"}}]
    project.workflow("two words", nodes, settings={"pools": {"big gpu": "1 GB"}})
    assert wfe("show", "two words").err.endswith("run it: wfe run 'two words'\n")
    assert wfe("show", "two words:add").err.endswith("run it: wfe run 'two words' add\n")
    assert wfe("log", "two words:add").err.endswith("run it: wfe run 'two words' add\n")
    assert wfe("log", "two words").err.endswith("`wfe list 'two words'` lists them\n")
    done = wfe("run", "two words")
    assert done.code == 3 and done.err.endswith("or --pool 'big gpu=4 GB'\n")


def test_a_timeout_that_is_not_kept_inline_is_told_once(project: ProjectUnderTest, wfe) -> None:
    steps = [{"id": name, "function": "some.array", "timeout": 60} for name in ("a", "b")]
    project.workflow("timed", steps)
    done = wfe("run", "timed", "--inline")
    assert done.code == 0 and done.out.count("no timeout is kept inline") == 1
    assert "timeout" not in wfe("run", "timed", "--force-all").out


def test_a_run_with_nothing_to_do_imports_nothing_heavy(project: ProjectUnderTest, wfe) -> None:
    wfe("run", "sum")
    wfe("run", "sum")
    text = (
        "import sys\nfrom wfe.cli import main\ntry:\n    main(['run', 'sum'])\nexcept SystemExit as end:\n"
        "    print(end.code, sorted({'doit', 'numpy', 'jsonschema', 'rich', 'pydantic', 'yaml', 'psutil', 'filelock',"
        " 'packaging', 'watchfiles', 'wfe.core.parse', 'wfe.env', 'wfe.agent'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=project.root, capture_output=True, text=True)
    assert done.stdout.splitlines() == [done.stdout.splitlines()[0], "0 []"], done.stderr
    assert done.stdout.startswith("sum: 4 current")
