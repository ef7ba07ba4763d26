"""Events as JSON, recordings of runs, and what is read back from them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfe.core.outcome import (
    Event,
    Failure,
    FanKnown,
    Note,
    Outcome,
    Reason,
    RunFinished,
    RunStarted,
    StepFinished,
    StepLine,
    StepProgress,
    StepStarted,
    StepState,
)
from wfe.errors import WfeError
from wfe.report import history
from wfe.report.choose import listeners
from wfe.report.ndjson import events, line, record
from wfe.report.recording import Recording, recordings
from wfe.report.retold import retell

Make = Callable[..., Any]

TEXT = st.text(st.characters(), max_size=20)  # surrogates too
TIME = st.integers(0, 2_000_000_000_000).map(lambda n: n / 1000)
STATE = st.sampled_from(StepState)
OUTCOME = st.builds(
    Outcome,
    step=TEXT,
    state=STATE,
    seconds=TIME,
    reasons=st.lists(st.builds(Reason, TEXT, TEXT, TEXT), max_size=2).map(tuple),
    failure=st.none() | st.builds(Failure, TEXT, TEXT, TEXT, TEXT),
    skip=TEXT,
    attempts=st.integers(1, 5),
)
COUNTS = st.fixed_dictionaries({state.value: st.integers(0, 10**6) for state in StepState})
POOLS = st.dictionaries(TEXT, st.integers(0, 10**9).map(float), max_size=2)
EVENT = st.one_of(
    st.builds(
        RunStarted, TEXT, TEXT, st.integers(0, 10**6), st.integers(1, 64), TIME, st.just({}), POOLS, st.integers(0, 9)
    ),
    st.builds(FanKnown, TEXT, st.integers(0, 10**6), st.integers(0, 10**6)),
    st.builds(StepStarted, TEXT, TIME, st.integers(0, 64), POOLS),
    st.builds(StepProgress, TEXT, TIME, TIME, TEXT),
    st.builds(StepLine, TEXT, TEXT, st.sampled_from(["stdout", "stderr"])),
    st.tuples(OUTCOME, TIME).map(lambda pair: StepFinished(pair[0].step, pair[0], pair[1])),
    st.builds(Note, TEXT, TEXT, TIME),
    st.builds(RunFinished, TEXT, COUNTS, TIME, TIME),
)

SCHEMA: dict[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "required": ["event", *fields],
            "properties": {"event": {"const": name}, **fields, **optional},
            "additionalProperties": False,
        }
        for name, fields, optional in [
            (
                "run-started",
                {
                    "format": {"const": 1},
                    "run": {"type": "string"},
                    "workflow": {"type": "string"},
                    "steps": {"type": "integer"},
                    "jobs": {"type": "integer"},
                    "time": {"type": "number"},
                },
                {
                    "pools": {"type": "object", "additionalProperties": {"type": "number"}},
                    "current": {"type": "integer"},
                },
            ),
            (
                "fan-known",
                {"step": {"type": "string"}, "steps": {"type": "integer"}, "current": {"type": "integer"}},
                {},
            ),
            (
                "step-started",
                {
                    "step": {"type": "string"},
                    "time": {"type": "number"},
                    "worker": {"type": "integer"},
                },
                {"takes": {"type": "object", "additionalProperties": {"type": "number"}}},
            ),
            (
                "step-progress",
                {
                    "step": {"type": "string"},
                    "done": {"type": ["number", "null"]},
                    "total": {"type": ["number", "null"]},
                    "note": {"type": "string"},
                },
                {},
            ),
            (
                "step-line",
                {
                    "step": {"type": "string"},
                    "stream": {"enum": ["stdout", "stderr"]},
                    "line": {"type": "string"},
                },
                {},
            ),
            (
                "step-finished",
                {
                    "step": {"type": "string"},
                    "state": {"enum": [state.value for state in StepState]},
                    "seconds": {"type": "number"},
                    "time": {"type": "number"},
                },
                {
                    "skip": {"type": "string"},
                    "attempts": {"type": "integer"},
                    "reasons": {
                        "type": "array",
                        "items": {"type": "object", "required": ["part", "old", "new"]},
                    },
                    "failure": {
                        "type": "object",
                        "required": ["kind", "message", "traceback", "log"],
                    },
                },
            ),
            ("note", {"message": {"type": "string"}, "step": {"type": "string"}}, {"time": {"type": "number"}}),
            (
                "run-finished",
                {
                    "run": {"type": "string"},
                    **{state.value: {"type": "integer"} for state in StepState},
                    "seconds": {"type": "number"},
                    "time": {"type": "number"},
                },
                {},
            ),
        ]
    ]
}

VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@settings(deadline=None)
@given(EVENT)
def test_an_event_survives_its_line(event: Event) -> None:
    """Every event is one ASCII line of the documented form, and the same event again when it is read."""
    text = line(event)
    assert text.isascii() and text.endswith("\n") and text.count("\n") == 1
    found = json.loads(text)
    VALIDATOR.validate(found)
    assert found == json.loads(json.dumps(record(event)))
    assert list(events([text])) == [event]


def test_numbers_that_json_lacks_are_null() -> None:
    """A node that says progress(nan, inf) breaks no reader."""
    assert json.loads(line(StepProgress("a", float("nan"), float("inf"))))["done"] is None
    ended = StepFinished("a", Outcome("a", StepState.CURRENT, float("nan")), 0.0)
    assert json.loads(line(ended))["seconds"] is None


def test_the_last_line_has_the_counts(whole: list[Event]) -> None:
    """What `--json` promises to programs."""
    stream = io.StringIO()
    (listener,) = listeners("json", stream, {})
    for event in whole:
        listener.hear(event)
    last = json.loads(stream.getvalue().splitlines()[-1])
    counts = {
        "ran": 2,
        "restored": 1,
        "current": 1,
        "skipped": 1,
        "failed": 1,
        "blocked": 1,
        "cancelled": 0,
    }
    assert last["event"] == "run-finished"
    assert {key: last[key] for key in counts} == counts
    assert last["seconds"] == pytest.approx(1.24)


@settings(deadline=None)
@given(st.lists(EVENT, max_size=5), st.binary(max_size=30), st.integers(0, 10**6))
def test_a_damaged_recording_gives_what_is_whole(story: list[Event], junk: bytes, cut: int) -> None:
    """Junk lines and a cut last line are left out; the lines before are all there."""
    lines = [line(event).encode() for event in story]
    text = b"".join(lines)
    cut %= len(text) + 1
    whole_lines = text[:cut].count(b"\n")
    got = list(events(io.BytesIO(text[:cut])))
    assert got[:whole_lines] == story[:whole_lines]
    assert len(got) <= whole_lines + 1
    junk = junk.replace(b"\n", b"")
    assert (
        list(
            events(
                [
                    junk,
                    b"[" * 100_000,
                    b"[1]",
                    b'{"event":"step-started"}',
                    b'{"event":"else"}',
                ]
            )
        )
        == []
    )


def test_a_recording_holds_a_run(whole: list[Event], tmp_path: Path) -> None:
    """All but output and progress is there; the run can be told again from it."""
    recording = Recording(tmp_path / "runs")
    for event in [*whole[:-1], StepLine("a", "x"), StepProgress("a", 1), whole[-1]]:
        recording.hear(event)
    assert recording.path == tmp_path / "runs" / "20251123-035320-ab12.ndjson"
    with recording.path.open("rb") as file:
        read = list(events(file))
    current = [event for event in whole if isinstance(event, StepFinished) and event.outcome.state is StepState.CURRENT]
    assert sorted(map(repr, read)) == sorted(map(repr, [RunStarted(*_start(whole[0])), *whole[1:]]))
    assert len(current) == 1
    told = history.read(recording.path)
    assert told.finished and not told.well and told.workflow == "detect_image"
    assert told.stays["detect"].outcome is not None and told.stays["detect"].outcome.failure is not None


def _start(event: Event) -> tuple[Any, ...]:
    assert isinstance(event, RunStarted)
    return event.run, event.workflow, event.steps, event.jobs, event.time


def test_a_run_with_nothing_to_do_is_two_lines(tell: Make, tmp_path: Path) -> None:
    """Its recording says how many steps were current, not which."""
    recording = Recording(tmp_path)
    story = tell(recording.hear)
    story.start(1000)
    for number in range(1000):
        story.end(f"s{number}", StepState.CURRENT)
    story.finish()
    assert recording.path is not None and len(recording.path.read_text().splitlines()) == 2
    (past,) = history.past(tmp_path)
    assert past.counts is not None and past.counts["current"] == 1000 and past.ending == "ok"


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_kill_leaves_what_was_done(tmp_path: Path) -> None:
    """A process that kills itself after some steps leaves every line up to there."""
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from wfe.core.outcome import *
        from wfe.report.recording import Recording
        recording = Recording(Path(sys.argv[1]))
        recording.hear(RunStarted("r1", "w", 5, 1, 100.0))
        recording.hear(StepFinished("old", Outcome("old", StepState.CURRENT), 100.0))
        recording.hear(StepStarted("a", 100.0))
        recording.hear(StepFinished("a", Outcome("a", StepState.RAN, 1.5), 101.5))
        recording.hear(StepStarted("b", 101.5))
        recording.rest()
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    told = history.read(tmp_path / "r1.ndjson")
    assert [(stay.step, stay.state) for stay in told.stays.values()] == [
        ("old", "current"),
        ("a", "ran"),
        ("b", "unfinished"),
    ]
    assert not told.finished and told.seconds == pytest.approx(1.5) and told.counts["ran"] == 1
    assert history.past(tmp_path)[0].ending == "unfinished"


def _record(
    folder: Path,
    run: str,
    age: int,
    ran: dict[str, float],
    workflow: str = "w",
    keep: int = 100,
) -> None:
    recording = Recording(folder, keep)
    counts = {state.value: 0 for state in StepState} | {"ran": len(ran)}
    recording.hear(RunStarted(run, workflow, len(ran), 1, 1000.0 - age))
    for step, seconds in ran.items():
        recording.hear(StepFinished(step, Outcome(step, StepState.RAN, seconds), 1000.0 - age))
    recording.hear(RunFinished(run, counts, 1.0, 1001.0 - age))
    assert recording.path is not None
    os.utime(recording.path, (1000 - age, 1000 - age))


def test_the_oldest_recordings_go(tmp_path: Path) -> None:
    """The newest are kept, the one that is being written among them; other files are left alone."""
    (tmp_path / "notes.txt").write_text("mine")
    for number in range(6):
        _record(tmp_path, f"r{number}", 100 - number, {"a": 1.0}, keep=3)
    assert [path.stem for path in recordings(tmp_path)] == ["r5", "r4", "r3"]
    assert (tmp_path / "notes.txt").exists()


def test_past_runs_are_found(tmp_path: Path) -> None:
    """By id, by the beginning of one, by workflow, or the newest; errors say what there is."""
    _record(tmp_path, "20250101-aa", 50, {"a": 1.0})
    _record(tmp_path, "20250101-ab", 40, {"a": 2.0}, "other")
    assert [past.run for past in history.past(tmp_path)] == [
        "20250101-ab",
        "20250101-aa",
    ]
    assert history.find(tmp_path).run == "20250101-ab"
    assert history.find(tmp_path, workflow="w").run == "20250101-aa"
    assert history.find(tmp_path, "20250101-aa").run == "20250101-aa"
    with pytest.raises(WfeError, match="2 recorded runs have ids that begin with '2025'"):
        history.find(tmp_path, "2025")
    with pytest.raises(
        WfeError,
        match="no recorded run has the id 'x'; known: 20250101-aa, 20250101-ab",
    ):
        history.find(tmp_path, "x")
    with pytest.raises(WfeError, match="run a workflow first"):
        history.find(tmp_path / "nowhere")


def test_durations_are_medians_of_the_last_runs(tmp_path: Path) -> None:
    """Only of the workflow, only of runs in which something ran, the newest first."""
    for number, seconds in enumerate([100.0, 1.0, 2.0, 9.0]):
        _record(
            tmp_path,
            f"r{number}",
            100 - number,
            {"a": seconds, **({"b": 0.5} if number == 2 else {})},
        )
    _record(tmp_path, "idle", 2, {})
    _record(tmp_path, "other", 1, {"a": 1000.0}, "other")
    assert history.durations(tmp_path, "w", last=3) == {"a": 2.0, "b": 0.5}


def test_a_folder_that_takes_nothing_costs_no_run(whole: list[Event], tmp_path: Path) -> None:
    """The recording ends with its error kept; the events go on."""
    (tmp_path / "runs").write_text("a file where the folder should be")
    recording = Recording(tmp_path / "runs")
    for event in whole:
        recording.hear(event)
    assert isinstance(recording.error, OSError)
    assert recordings(tmp_path / "runs") == []


def test_of_several_attempts_the_first_start_counts() -> None:
    """A step that was tried twice began when it was first tried."""
    ended = StepFinished("a", Outcome("a", StepState.RAN, 1.0, attempts=2), 5.0)
    told = retell(
        [
            RunStarted("r", "w", 1, 1, 0.0),
            StepStarted("a", 1.0, 3),
            StepStarted("a", 3.0, 1),
            ended,
        ]
    )
    assert (told.stays["a"].began, told.stays["a"].worker, told.stays["a"].ended) == (
        1.0,
        3,
        5.0,
    )
