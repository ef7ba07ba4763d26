"""doit's own commands on workflows: what they say, what they do, and the exit code. Every call is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from space import Space, environ

NODES = """
@workflow_node()
def load(path: Path):
    return {"text": path.read_text()}

@workflow_node()
def shout(text: str, mark: str = "!"):
    return {"loud": text.upper() + mark}

@workflow_node()
def write(loud: str, to: Output):
    to.write_text(loud)

@workflow_node()
def bad(text: str):
    raise ValueError("no " + text)
"""


@pytest.fixture
def project(space: Space) -> Space:
    space.nodes(NODES)
    space.file("in.txt", "abc")
    space.workflow(
        [
            {"id": "load", "description": "Read it", "inputs": {"path": "in.txt"}},
            {"id": "shout", "inputs": {"text": "$load.text", "mark": "${mark}"}},
            {"id": "write", "inputs": {"loud": "$shout.loud", "to": "out/a.txt"}},
        ],
        params={"mark": "!"},
        description="Shout a file",
    )
    return space


def test_without_a_workflow(project: Space) -> None:
    listed = project.doit("list")
    assert listed.stdout.split() == ["w", "Shout", "a", "file"]
    assert not (project.root / ".doit.db").exists() and not list(project.root.glob(".doit.db*"))
    run = project.doit("run", code=2)
    assert run.stdout == ""
    assert run.stderr == "no workflow was chosen; there are: w\n  doit run workflow=w\n"
    for command in ("clean", "forget", "ignore", "info", "reset-dep"):
        told = project.doit(command, code=2)
        assert (told.stdout, told.stderr) == ("", run.stderr.replace("run", command))
    of_which = project.doit("run", "mark=?", code=2)
    assert of_which.stderr == "mark=...: of which workflow?; say workflow=NAME; there are: w\n"


OTHERS = """
def task_note():
    return {"actions": ["echo noted >> note.txt"], "file_dep": ["in.txt"], "targets": ["note.txt"]}
"""


def test_tasks_of_the_dodo_itself_are_run_by_their_names(project: Space) -> None:
    with (project.root / "dodo.py").open("a") as dodo:
        dodo.write(OTHERS)
    note = project.root / "note.txt"

    def status() -> str:
        return project.doit("list", "--status").stdout.split()[0]

    assert status() == "R"
    for _ in range(2):
        project.doit("note", "x=1")
        assert note.read_text() == "noted\n"
    assert status() == "U"
    for _ in range(2):  # the second time the steps are current, and so is the task
        project.doit("run", "workflow=w")
    project.doit("clean", "workflow=w")
    project.doit("forget", "workflow=w")
    assert "w: 3 ran" in project.doit("run", "workflow=w", "-n", "2").stdout
    assert note.read_text() == "noted\n", "whoever chooses a workflow has not asked for the tasks beside it"
    assert "R note" in project.doit("list", "workflow=w", "--status").stdout, "nothing is known of it there"
    project.file("in.txt", "other")
    project.doit("run", "note")
    assert note.read_text() == "noted\nnoted\n"
    assert project.doit("run", code=2).stderr == "no workflow was chosen; there are: w\n  doit run workflow=w\n"
    project.doit("run", "w", code=2)
    assert "nothing" in project.doit("run", "nothing", code=3).stderr
    assert "no step 'note'" in project.doit("run", "workflow=w", "note", code=3).stderr
    # Where its own settings choose it, it is run, and it is no step.
    with (project.root / "dodo.py").open("a") as dodo:
        dodo.write('DOIT_CONFIG["default_tasks"] = ["note"]\n')
    project.doit("run", "workflow=w")


def test_a_task_of_the_dodo_itself_may_need_a_step(project: Space) -> None:
    """The second run was refused: of a current step there was no task, and the dependency was told not to exist."""
    with (project.root / "dodo.py").open("a") as dodo:
        dodo.write(
            'DOIT_CONFIG["default_tasks"] = ["send"]\n'
            'def task_send():\n    return {"actions": ["cat out/a.txt >> sent.txt"], "task_dep": ["write"]}\n'
        )
    assert "w: 3 ran in" in project.doit("run", "workflow=w").stdout
    assert "w: 3 current in" in project.doit("run", "workflow=w").stdout
    assert "w: 2 ran, 1 current in" in project.doit("run", "workflow=w", "mark=?", "-n", "2").stdout
    assert (project.root / "sent.txt").read_text() == "ABC!ABC!ABC?"


def test_names_that_doit_or_a_shell_takes_otherwise(project: Space) -> None:
    document = (project.root / "workflows" / "w.json").read_text()
    project.file("workflows/eq=x.json", document)
    listed = project.doit("list")
    assert listed.stdout.split() == ["w", "Shout", "a", "file"]
    assert listed.stderr == "workflow 'eq=x' is not listed: doit takes no '=' in names; give its file another name\n"
    for _ in range(2):  # the second time nothing is left to be done
        project.doit("run", "workflow=eq=x", "write")
    project.file("workflows/a b.json", document)
    assert project.doit("run", code=2).stderr.endswith("\n  doit run 'workflow=a b'\n")


def test_a_project_without_documents(space: Space) -> None:
    listed = space.doit("list")
    assert (listed.stdout, listed.stderr) == (
        "",
        "there are no documents in workflows/; `wfe init` writes one to begin with\n",
    )


def test_wrong_names(project: Space) -> None:
    """Told without a traceback, and before anything runs."""
    assert project.doit("run", "workflow=v", code=3).stderr == "there is no workflow 'v'; known: w\n"
    wrong = project.doit("run", "workflow=w", "mrk=?", code=3)
    assert wrong.stderr == "workflows/w.json: workflow 'w' has no parameter 'mrk'; did you mean 'mark'?\n"
    for name in ("shuot", "shuot*"):
        run = project.doit("run", "workflow=w", name, code=3)
        assert (run.stdout, run.stderr.partition(";")[0]) == ("", f"workflow 'w' has no step {name!r}")
    # As the README says: doit refuses these itself, most of them before it reads dodo.py.
    for words in (
        "run workflow=w --nonsense",
        "run workflow=w -n",
        "run workflow=w -n many",
        "clean workflow=w nonsense",
    ):
        told = project.doit(*words.split(), code=3).stderr
        assert words.split()[-1] in told and "BUG" not in told, told
    info = project.doit("info", "workflow=w", "shuot", code=3)
    assert (info.stdout, info.stderr) == ("", "workflow 'w' has no step 'shuot'; did you mean 'shout'?\n")
    assert not (project.cache / "steps").exists()
    project.doit("run", "workflow=w")
    assert "did you mean 'shout'" in project.doit("run", "workflow=w", "shuot", code=3).stderr
    assert len(project.wfe("runs", "--json").stdout.splitlines()) == 1  # of which nothing ran is no run


def test_run_list_and_info(project: Space) -> None:
    before = project.doit("list", "workflow=w", "--status", "--deps", "--all").stdout
    assert [line for line in before.splitlines() if line.strip()] == [
        "R load    Read it",
        " -  in.txt",
        "R shout   n.shout",
        "R write   n.write",
    ]
    assert not (project.cache / "steps").exists(), "doit list ran something"

    assert "w: 3 ran in" in project.doit("run", "workflow=w").stdout
    assert (project.root / "out/a.txt").read_text() == "ABC!"
    assert "w: 3 current in" in project.doit("run", "workflow=w").stdout
    assert "U load " in project.doit("list", "workflow=w", "--status").stdout
    info = project.doit("info", "workflow=w", "write").stdout
    assert "up-to-date" in info and " - shout" in info and " - out/a.txt" in info

    asked = project.doit("list", "workflow=w", "--status", "mark=?").stdout
    assert [line.split()[:2] for line in asked.splitlines()] == [["U", "load"], ["R", "shout"], ["R", "write"]]
    part = project.doit("run", "workflow=w", "mark=?", "shout").stdout
    assert "w: 1 ran, 1 current in" in part and (project.root / "out/a.txt").read_text() == "ABC!"
    assert "w: 1 restored, 2 current in" in project.doit("run", "workflow=w", "shout", "write").stdout
    assert "w: 3 ran in" in project.doit("run", "workflow=w", "-a").stdout
    two = project.doit("run", "workflow=w", "-n", "2", "mark=??").stdout
    assert "w: 2 ran, 1 current in" in two and (project.root / "out/a.txt").read_text() == "ABC??"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_parallel_type_process_runs_as_well(project: Space, jobs: str) -> None:
    told = project.doit("run", "workflow=w", "-n", jobs, "-P", "process").stdout
    assert "w: 3 ran in" in told and (project.root / "out/a.txt").read_text() == "ABC!"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_another_reporter_of_doit_does_not_keep_a_run_from_its_end(project: Space, jobs: str) -> None:
    told = project.doit("run", "workflow=w", "-n", jobs, "-r", "console").stdout
    assert "w: 3 ran in" in told
    (run,) = project.wfe("runs", "--json").stdout.splitlines()
    assert json.loads(run)["ending"] == "ok"


def test_clean_and_forget(project: Space) -> None:
    project.run()
    told = project.doit("clean", "workflow=w", "-n")
    assert "write - executing 'remove out/a.txt, cache/steps/w/write.json'" in told.stdout or (
        "write - executing 'remove cache/steps/w/write.json, out/a.txt'" in told.stdout
    ), told.stdout
    assert (project.root / "out/a.txt").exists() and project.result_file("load").exists()
    done = project.doit("clean", "workflow=w", "write")
    assert done.stderr == ""
    assert not (project.root / "out/a.txt").exists() and not project.result_file("write").exists()
    assert project.result_file("shout").exists()
    assert "w: 1 restored, 2 current in" in project.doit("run", "workflow=w").stdout
    assert (project.root / "out/a.txt").read_text() == "ABC!"
    assert project.doit("clean", "workflow=w").stderr == ""
    assert not project.result_file("load").exists()
    project.run()
    project.restored("load", "shout", "write")

    assert project.doit("forget", "workflow=w", "shout").stdout == "forgetting shout\n"
    project.run()
    project.ran("shout")
    project.current("load", "write")  # the same output stops the rebuild
    assert project.doit("forget", "workflow=w").stdout.split() == ["forgetting", "load", "forgetting", "shout"] + [
        "forgetting",
        "write",
    ]
    project.run()
    project.ran("load", "shout", "write")


@pytest.mark.parametrize("unbuffered", ["", "1"])  # written at each write, or when the process ends
@pytest.mark.parametrize("words", ["list", "list workflow=w", "info workflow=w write", "clean workflow=w", "note"])
def test_a_reader_that_went_away_is_no_failure(project: Space, words: str, unbuffered: str) -> None:
    """`doit clean workflow=w | head -1` showed doit's traceback, and cleaned one step."""
    with (project.root / "dodo.py").open("a") as dodo:
        dodo.write(OTHERS)
    project.run()
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "doit", *words.split()],
        cwd=project.root,
        env=environ(PYTHONUNBUFFERED=unbuffered),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert (project.root / "note.txt").exists() == (words == "note")
    assert (project.root / "out/a.txt").exists() == (words != "clean workflow=w")


def test_ignore(project: Space) -> None:
    project.run()
    assert project.doit("ignore", "workflow=w", "write").stdout == "ignoring write\n"
    found = project.doit("run", "workflow=w", "mark=?").stdout
    assert "you told doit to ignore it" in found and "w: 1 ran, 1 current, 1 skipped (write) in" in found
    assert (project.root / "out/a.txt").read_text() == "ABC!"
    assert "I write" in project.doit("list", "workflow=w", "--status", "mark=?").stdout
    project.doit("forget", "workflow=w", "write")
    project.doit("run", "workflow=w", "mark=?")
    assert (project.root / "out/a.txt").read_text() == "ABC?"


def test_failures_and_exit_codes(project: Space) -> None:
    project.workflow(
        [
            {"id": "load", "inputs": {"path": "in.txt"}},
            {"id": "bad", "inputs": {"text": "$load.text"}},
            {"id": "after", "function": "n.write", "inputs": {"to": "out/b.txt", "loud": "x"}, "depends_on": ["bad"]},
            {"id": "other", "function": "n.shout", "depends_on": ["load"]},
        ],
        name="fails",
    )
    stopped = project.doit("run", "workflow=fails", code=1).stdout
    assert "failed    bad" in stopped and "ValueError: no abc" in stopped and "blocked   after" in stopped
    for jobs in ("1", "2"):
        went_on = project.doit("run", "workflow=fails", "--continue", "-n", jobs, code=1).stdout
        assert "failed    bad" in went_on and "1 failed (bad), 1 blocked in" in went_on
    project.run("fails")
    project.current("load", "other")
    project.failed("bad")
    assert not (project.root / "out/b.txt").exists()
    assert "2 ran in" in project.doit("run", "-a", "workflow=fails", "other").stdout
    (project.root / "cache2").write_text("a file where the cache should be")
    refused = project.doit("run", "workflow=w", code=None, WFE_CACHE=str(project.root / "cache2"))
    assert refused.returncode in (0, 4) and "Traceback" not in refused.stderr
    assert "cannot be written to (File exists)" in refused.stdout + refused.stderr


def test_a_claims_file_that_cannot_be_opened(project: Space) -> None:
    """The surroundings are to blame, and not wfe."""
    (project.root / "cache" / "claims.lock").mkdir(parents=True)
    found = project.doit("run", "workflow=w", code=4)
    assert "claims.lock cannot be opened: " in found.stderr and "set WFE_CACHE" in found.stderr
    assert "Traceback" not in found.stderr and "BUG" not in found.stderr


def test_a_single_step_whose_needs_are_not_current_is_refused(project: Space) -> None:
    """`-s` leaves what a step needs as it is: with other parameters it would be told as current with the old values."""
    refused = project.doit("run", "workflow=w", "-s", "write", code=2)
    assert refused.stderr == (
        "step 'write' needs 'shout', not current, which a run with -s leaves as it is; run it without -s\n"
    )
    project.doit("run", "workflow=w")
    (project.root / "out" / "a.txt").unlink()
    project.doit("run", "workflow=w", "-s", "write")
    assert (project.root / "out" / "a.txt").read_text() == "ABC!"
    project.doit("run", "workflow=w", "mark=?", "-s", "write", code=2)
    assert (project.root / "out" / "a.txt").read_text() == "ABC!"
    refused = project.doit("run", "workflow=w", "-s", code=2)
    assert refused.stderr == "-s runs the steps that are named, alone; name them, or run without -s\n"


def test_several_single_steps(space: Space) -> None:
    """doit goes on with the first of them alone."""
    space.nodes("@workflow_node()\ndef f(n: int): return {'n': n}\n")
    fan = {"id": "each", "function": "n.f", "foreach": [1, 2], "inputs": {"n": "$item"}}
    plain = [{"id": name, "function": "n.f", "inputs": {"n": 1}} for name in ("a", "b", "c")]
    space.workflow([*plain, fan])
    for jobs in ("1", "2"):
        found = space.doit("run", "workflow=w", "-n", jobs, "-s", "-a", "b", "each", "a")
        assert found.stdout.count("ran       ") == 4 and "cancelled" not in found.stdout, found.stdout


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("asked", "ran"),
    [
        (["each[b]"], {"items", "each[b]"}),
        (["each[a]", "each[c]"], {"items", "each[a]", "each[c]"}),
        (["each"], {"items", "each[a]", "each[b]", "each[c]"}),
        (["each[b]", "write"], {"items", "each[a]", "each[b]", "each[c]", "write"}),
        (["out/a.txt"], {"items", "each[a]", "each[b]", "each[c]", "write"}),
        (["a*ne"], {"alone"}),
    ],
)
def test_only_what_is_asked_for_is_run_and_counted(space: Space, asked: list[str], ran: set[str], known: bool) -> None:
    """By name, target or pattern; what nobody asked for is not told as cancelled."""
    space.nodes(
        "@workflow_node(outputs={'items': list})\n"
        "def items(): return {'items': ['a', 'b', 'c']}\n"
        "@workflow_node(outputs={'text': str})\n"
        "def each(text: str): return {'text': text}\n"
        "@workflow_node\n"
        "def write(text: list, to: Output): to.write_text(''.join(text))\n"
    )
    space.workflow(
        [
            {"id": "items"},
            {"id": "each", "foreach": "$items.items", "inputs": {"text": "$item"}},
            {"id": "write", "inputs": {"text": "$each.text", "to": "out/a.txt"}},
            {"id": "alone", "function": "n.each", "inputs": {"text": "x"}},
        ]
    )
    if known:
        space.doit("run", "workflow=w", "items")
        ran = ran - {"items"}
    told = space.doit("run", "workflow=w", *asked).stdout.splitlines()
    begun = json.loads(sorted((space.cache / "runs").glob("*.ndjson"))[-1].read_text().splitlines()[0])
    assert begun["steps"] <= len(ran | {"items"})  # a fan whose items are not known counts as one
    assert {line.split()[1] for line in told if line.startswith("ran ")} == ran
    assert told[-1].startswith(f"w: {len(ran)} ran") and "cancelled" not in "".join(told)
    assert space.doit("run", "workflow=w", *asked).stdout.startswith("w: ")


@pytest.mark.parametrize("known", [False, True])
def test_an_item_that_a_fan_has_not_fails_it(space: Space, known: bool) -> None:
    space.nodes(
        "@workflow_node(outputs={'items': list})\n"
        "def items(wrong: bool): return {'items': 3 if wrong else ['a', 'b']}\n"
        "@workflow_node\n"
        "def each(text: str): pass\n"
    )
    nodes = [
        {"id": "items", "inputs": {"wrong": "${wrong}"}},
        {"id": "each", "foreach": "$items.items", "inputs": {"text": "$item"}},
    ]
    space.workflow(nodes, params={"wrong": False})
    if known:
        space.doit("run", "workflow=w", "items")
        assert "has no step 'each[ab]'; did you" in space.doit("run", "workflow=w", "each[ab]", code=3).stderr
    else:
        told = space.doit("run", "workflow=w", "each[ab]", code=1).stdout
        assert "failed    each  " in told and "has no step 'each[ab]'; did you mean 'each[" in told
        assert "1 failed (each)" in told.splitlines()[-1]
    space.workflow(
        [*nodes, {"id": "all", "function": "n.each", "inputs": {"text": "$each.0"}}], params={"wrong": False}
    )
    assert "has no step 'each[ab]'" in space.doit("run", "workflow=w", "all", "each[ab]", code=3).stderr


def test_the_status_of_a_fan_is_that_of_its_steps(space: Space) -> None:
    space.nodes("@workflow_node\ndef each(text: str): return {'text': text}\n")
    space.workflow([{"id": "each", "foreach": ["a", "b"], "inputs": {"text": "$item"}}])

    def status() -> str:
        return space.doit("list", "workflow=w", "--all", "--status").stdout

    assert [line[0] for line in status().splitlines()] == ["R", "R", "R"]
    space.run()
    assert [line[0] for line in status().splitlines()] == ["U", "U", "U"]
    assert "up-to-date" in space.doit("info", "workflow=w", "each").stdout
    space.doit("clean", "workflow=w", "each[b]")
    assert [line[0] for line in status().splitlines()] == ["R", "U", "R"]
    info = space.doit("info", "workflow=w", "each", code=1).stdout
    assert "not all of its 2 steps are current" in info


def test_the_status_of_what_comes_after_steps_that_are_looked_at_in_the_run(space: Space) -> None:
    """After a run nothing is left to be done: not of what a condition, a time to live or `cache: never` precedes either."""
    space.nodes("@workflow_node\ndef step(x: int, y: Any = None): return {'x': x}\n")
    one = {"function": "n.step", "inputs": {"x": 1}}
    nodes = [
        {**one, "id": "when", "when": "${go}"},
        {**one, "id": "old", "ttl": 1000},
        {**one, "id": "each", "foreach": [1, 2], "when": "$item != 2", "depends_on": ["old"]},
        {**one, "id": "last", "inputs": {"x": 1, "y": ["$each", "$old", "$when"]}},
    ]
    space.workflow(nodes, params={"go": True})

    def status(*more: str) -> dict[str, str]:
        lines = space.doit("list", "workflow=w", "--all", "--status", *more).stdout.splitlines()
        return {line.split()[1]: line[0] for line in lines}

    steps = ["each", "each[1]", "each[2]", "last", "old", "when"]
    assert status() == dict.fromkeys(steps, "R"), "the items of a fan over constants are known before the run"
    assert "unknown: until old" in space.doit("info", "workflow=w", "each[1]", code=1).stdout
    space.run()
    assert status() == dict.fromkeys(steps, "U")
    assert "up-to-date" in space.doit("info", "workflow=w", "last").stdout
    assert status("go=false") == {**dict.fromkeys(steps, "U"), "last": "R"}, "to be skipped is nothing to be done"
    space.workflow([*nodes, {**one, "id": "clock", "cache": "never"}], params={"go": True})
    assert status() == {**dict.fromkeys(steps, "U"), "clock": "R"}


def test_forget_and_ignore_mean_all_of_a_fan(space: Space) -> None:
    """Also where its items are not known when doit is asked, since what gives them is never current."""
    space.nodes("""
    @workflow_node(cache="never", outputs={"items": list})
    def items() -> dict: return {"items": [1, 2]}

    @workflow_node()
    def each(n: int) -> dict: return {"n": n}
    """)
    space.workflow([{"id": "items"}, {"id": "each", "foreach": "$items.items", "inputs": {"n": "$item"}}])
    space.doit("run", "workflow=w")
    assert "1 ran, 2 current" in space.doit("run", "workflow=w").stdout
    space.doit("forget", "workflow=w")
    assert "w: 3 ran" in space.doit("run", "workflow=w").stdout
    space.doit("forget", "workflow=w", "each")
    assert "w: 3 ran" in space.doit("run", "workflow=w").stdout
    space.doit("forget", "workflow=w", "each")
    space.doit("ignore", "workflow=w", "each")
    for jobs in ("1", "2"):
        found = space.doit("run", "workflow=w", "-n", jobs).stdout
        assert "ran       each" not in found and "2 skipped" in found, found


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_stdout_without_room_is_told(project: Space) -> None:
    for line, code in ((("run", "workflow=w"), 4), (("list", "workflow=w"), 0)):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "doit", *line],
                cwd=project.root,
                env=environ(),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert (done.returncode, done.stderr) == (code, "stdout cannot be written: No space left on device\n")
