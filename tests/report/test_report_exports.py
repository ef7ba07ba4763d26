"""What is made of a whole run: JUnit XML, Markdown, Chrome trace, HTML page; and small tables of text."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfe.core.outcome import (
    Event,
    Failure,
    Note,
    Outcome,
    Reason,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    StepState,
)
from wfe.report.junit import junit
from wfe.report.markdown import markdown
from wfe.report.page import page
from wfe.report.retold import Retold, retell
from wfe.report.table import fitted, table, width_of
from wfe.report.timeline import timeline

Make = Callable[..., Any]

EVIL = "\x1b[2J</pre></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>]]>\x00\ufffe\udc80`|\n| a | b |"


def _all(text: str, finished: bool = True) -> Retold:
    """A run in which every text of a step and of its end is `text`."""
    failure = Failure(text, text, text, text)
    events: list[Event] = [RunStarted(text, text, 9, 2, 100.0), Note(text, text)]
    for number, state in enumerate(StepState):
        step = f"{number}{text}"
        if number % 2:
            events.append(StepStarted(step, 100.0 + number, 0))
        reasons = (Reason(text, text, text),)
        outcome = Outcome(step, state, 1.0, reasons, failure if state is StepState.FAILED else None, text)
        events.append(StepFinished(step, outcome, 101.0 + number))
    events.append(StepStarted(f"open{text}", 100.0, 1))
    if finished:
        events.append(RunFinished(text, {state.value: 1 for state in StepState}, 9.0, 109.0))
    return retell(events)


def test_goldens(whole: list[Event], golden: Make) -> None:
    """Each form of one run, as a whole."""
    told = retell(whole)
    golden("run.junit.xml", junit(told))
    golden("run.md", markdown(told))
    golden("run.trace.json", json.dumps(json.loads(timeline(told)), indent=1) + "\n")
    golden("run.html", page(told, {"detect": ["resize"], "draw": ["detect"]}))


@pytest.mark.parametrize(
    ("states", "ending", "verdict"),
    [
        ([StepState.RAN, StepState.SKIPPED], "ok", "succeeded"),
        ([StepState.FAILED, StepState.CANCELLED], "failed", "failed"),
        ([StepState.RAN, StepState.CANCELLED], "interrupted", "was interrupted"),
        ([], "unfinished", "did not finish"),
    ],
)
def test_how_a_run_ended_is_said_alike(states: list[StepState], ending: str, verdict: str, tell: Make) -> None:
    events: list[Event] = []
    story = tell(events.append)
    story.start(2)
    for number, state in enumerate(states):
        story.end(f"s{number}", state)
    if states:
        story.finish()
    told = retell(events)
    assert (told.ending, told.well) == (ending, ending == "ok")
    assert f"<title>detect_image {verdict}</title>" in page(told)
    assert markdown(told).startswith(f"### detect\\_image {verdict}\n")


def test_junit_counts_what_it_holds() -> None:
    """The numbers on a suite are those of its cases, whatever the texts are; it is well-formed XML."""
    root = ElementTree.fromstring(junit(_all(EVIL)).encode())
    suite = root[0]
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase")) == 8
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) == 1
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped")) == 4
    assert int(suite.attrib["errors"]) == 0
    assert {case.attrib["classname"] for case in suite} == {suite.attrib["name"]}


def test_a_death_is_an_error_in_junit(tell: Make) -> None:
    """A step that was killed or ran out of time is told apart from one that raised."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(2)
    story.end("a", StepState.FAILED, failure=Failure("died", "killed by signal 9 (SIGKILL)"))
    story.fail("b")
    story.finish()
    suite = ElementTree.fromstring(junit(retell(events)))[0]
    assert [(case.attrib["name"], case[0].tag) for case in suite] == [("a", "error"), ("b", "failure")]
    assert (suite.attrib["errors"], suite.attrib["failures"]) == ("1", "1")
    assert suite[0][0].text == "killed by signal 9 (SIGKILL)"


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(), max_size=40), st.booleans())
def test_any_text_gives_valid_documents(text: str, finished: bool) -> None:
    """XML parses, JSON parses, every form can be written as UTF-8 and holds no control character."""
    told = _all(text, finished)
    ElementTree.fromstring(junit(told).encode("utf-8"))
    json.loads(timeline(told))
    for document in (junit(told), markdown(told), page(told), timeline(told)):
        encoded = document.encode("utf-8").decode()
        assert not {c for c in encoded if ord(c) < 32 and c not in "\t\n"}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_lets_no_text_become_markup() -> None:
    """The elements of a page with evil texts are those of a page with tame ones; nothing is loaded, all tags match."""
    tame, evil = _Tags(), _Tags()
    tame.feed(page(_all("tame"), {"tame": ["tame"]}))
    text = page(_all(EVIL), {EVIL: [EVIL]})
    evil.feed(text)
    assert evil.tags == tame.tags and evil.attributes == tame.attributes
    assert evil.open == tame.open == []
    assert not {"script", "img", "link", "iframe"} & evil.tags
    assert not any(name.startswith("on") or name == "src" for name in evil.attributes)
    assert "alert(1)" in evil.text
    assert "http" not in text.replace("http-equiv", "")


def test_a_page_of_many_steps_stays_small(tell: Make) -> None:
    """Of 20,000 steps the failed and the slowest are kept, the rest is counted."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(20_000)
    for number in range(19_999):
        story.begin(f"s{number}")
        story.clock.now += 0.001 + (number == 17) * 5
        story.end(f"s{number}", seconds=0.001)
    story.fail("bad")
    story.finish()
    text = page(retell(events))
    assert len(text) < 2_000_000
    assert "17,000 more steps are not shown" in text
    assert ">bad<" in text and ">s17<" in text


def test_markdown_keeps_to_its_limit(tell: Make) -> None:
    """A hundred failures of 100 kB each fit on a forge's page, and the text says that some are left out."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(100)
    for number in range(100):
        story.fail(f"s{number}", traceback="\n".join(["x" * 1900] * 100))
    story.finish()
    text = markdown(retell(events))
    assert len(text.encode()) < 1024 * 1024
    assert "More failures are left out" in text


def test_markdown_fences_hold(tell: Make) -> None:
    """A traceback with fences in it does not end the block."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(1)
    story.fail("s", traceback="a\n````\n<b>x</b>\n```")
    story.finish()
    assert "\n`````text\na\n````\n<b>x</b>\n```\n" in markdown(retell(events))


def test_the_trace_has_a_row_a_slot(whole: list[Event]) -> None:
    """Bars lie on the rows of their slots, do not overlap there, and last as long as their steps."""
    events = json.loads(timeline(retell(whole)))["traceEvents"]
    rows = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert rows == {0: "engine", 1: "slot 0", 2: "slot 1"}
    bars = {event["name"]: event for event in events if event["ph"] == "X"}
    assert bars["resize"]["tid"] == 1 and bars["histogram"]["tid"] == 2
    assert bars["resize"]["dur"] == pytest.approx(330_000, abs=1)
    assert bars["resize"]["ts"] + bars["resize"]["dur"] <= bars["detect"]["ts"] + 1
    assert bars["resize"]["args"]["why"] == ["input 'size': 320 -> 640", "code"]
    assert bars["detect"]["args"]["state"] == "failed"
    assert {event["name"] for event in events if event["ph"] == "i"} == {"load", "labels", "gpu", "draw", "note"}
    loaded, frame = (event for event in events if event["name"] == "note")
    assert loaded["ts"] == bars["resize"]["ts"] < frame["ts"] <= bars["resize"]["ts"] + bars["resize"]["dur"]


def test_a_note_of_an_earlier_version_stands_at_the_start() -> None:
    told = retell([RunStarted("r", "w", 1, 1, 100.0), Note("text")])
    (note,) = (event for event in json.loads(timeline(told))["traceEvents"] if event["name"] == "note")
    assert note["ts"] == 0.0


def test_a_table_fits() -> None:
    """Columns line up, the widest gives first, the first column is kept, numbers stand at the right."""
    rows = [["detect", "12", "a long description of what this node does"], ["\u753b\u50cf", "3", "\x1b[31mshort"]]
    assert table(["name", "runs", "what"], rows, right=[1]) == (
        "name    runs  what\ndetect    12  a long description of what this node does\n\u753b\u50cf       3  short\n"
    )
    narrow = table(["name", "runs", "what"], rows, 30, right=[1])
    assert narrow.splitlines()[1] == "detect    12  a long descri..."
    assert table([], [["a", "b"], ["c"]]) == "a  b\nc\n"
    assert table([], []) == ""


@given(
    st.lists(st.lists(st.text(max_size=30), min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(30, 120),
)
def test_no_line_of_a_table_is_too_wide(rows: list[list[str]], width: int) -> None:
    """Whatever the cells hold."""
    for line in table(["a", "b"], rows, width).splitlines():
        assert width_of(line) <= width


def test_fitting_a_text() -> None:
    """Wide characters count two columns and are never cut in half."""
    assert fitted("\u753b\u50cf\u51e6\u7406", 8) == "\u753b\u50cf\u51e6\u7406"
    assert fitted("\u753b\u50cf\u51e6\u7406", 7) == "\u753b\u50cf..."
    assert fitted("abcdef", 2) == ".."
