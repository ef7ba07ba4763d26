"""A run as JUnit XML, for GitLab, Jenkins and other readers of test reports.

Knows a retold run and the XML that those readers take (testsuites > testsuite > testcase, with failure, error or
skipped). Does not know where it is written to.
Form: the schema that Jenkins' xUnit plugin publishes (junit-10.xsd); docs.gitlab.com "Unit test reports".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

from wfe.core.outcome import Outcome, StepState
from wfe.report.retold import Retold, Stay
from wfe.report.wording import clean, one_line

# What XML 1.0 cannot hold even as a reference, beyond what `clean` has made visible.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
# A step that died or ran out of time says nothing about its own correctness: an error, not a failed assertion.
_ERRORS = {"died", "timeout", "cancelled"}


def junit(told: Retold) -> str:
    """The run as an XML document. One testcase a step: skipped, blocked, cancelled and unfinished ones as skipped."""
    failed = told.of(StepState.FAILED)
    errors = sum(1 for outcome in failed if outcome.failure and outcome.failure.kind in _ERRORS)
    skipped = sum(1 for stay in told.stays.values() if _skipped(stay) is not None)
    numbers = {
        "tests": str(len(told.stays)),
        "failures": str(len(failed) - errors),
        "errors": str(errors),
        "skipped": str(skipped),
        "time": f"{told.seconds:.3f}",
    }
    name = _text(told.workflow or "workflow")
    root = ElementTree.Element(
        "testsuites",
        {"name": "wfe", **{k: v for k, v in numbers.items() if k != "skipped"}},
    )
    when = datetime.fromtimestamp(told.time, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **numbers, "timestamp": when})
    for stay in told.stays.values():
        seconds = stay.outcome.seconds if stay.outcome else 0.0
        facts = {"classname": name, "name": _text(stay.step), "time": f"{seconds:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", facts)
        why = _skipped(stay)
        if why is not None:
            ElementTree.SubElement(case, "skipped", {"message": _text(why)})
        elif stay.outcome is not None and stay.outcome.state is StepState.FAILED:
            _failed(case, stay.outcome)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _failed(case: ElementTree.Element, outcome: Outcome) -> None:
    failure = outcome.failure
    kind, message = (failure.kind, failure.message) if failure else ("failed", "")
    name = "error" if kind in _ERRORS else "failure"
    found = ElementTree.SubElement(case, name, {"type": _text(kind), "message": _text(one_line(message))})
    if failure is not None:
        found.text = _text(failure.traceback.rstrip() or message)
        if failure.log:
            ElementTree.SubElement(case, "system-out").text = f"log: {_text(failure.log)}"


def _skipped(stay: Stay) -> str | None:
    if stay.outcome is None:
        return "the run stopped before this step ended"
    match stay.outcome.state:
        case StepState.SKIPPED:
            return one_line(stay.outcome.skip) or "skipped"
        case StepState.BLOCKED | StepState.CANCELLED as state:
            why = one_line(stay.outcome.skip)
            return f"{state.value}: {why}" if why else state.value
    return None


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", clean(text))
