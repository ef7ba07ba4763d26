"""Runs inside the sandbox, as a file: calls a drafted node on small inputs, then its test on it and on stubs.

Standard library (and numpy, when an input is an array). Told by a JSON file, it writes one JSON line for each thing it
begins and each that it finishes, so that whoever started it knows where it died. What it reports is a claim of
untrusted code: it can speed up a refusal, it cannot make a node trusted.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

NUMBER = {"int": 0, "float": 0.0, "bool": False, "str": "", "list": [], "dict": {}, "path": "", "any": None}


class Trial:
    """One drafted node. `order`: module, name, root, code, test, examples, outputs (key -> kind), report (a path)."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self.order = order
        self.files = Path.cwd() / "files"
        self.files.mkdir()
        self.written: list[Path] = []
        self._report = Path(order["report"]).open("a", encoding="utf-8")  # noqa: SIM115 - open until the process ends

    def tell(self, stage: str, **facts: Any) -> None:
        self._report.write(json.dumps({"stage": stage, **facts}) + "\n")
        self._report.flush()

    def run(self) -> None:
        order = self.order
        sys.path[:0] = [order["root"]]
        self.tell("import")
        try:
            module = importlib.import_module(order["module"])
            function = getattr(module, order["name"])
        except BaseException as error:  # noqa: BLE001 - whatever the draft does is a finding
            return self.tell("failed", at="import", **self.describe(error))
        first: Any = None
        for number, example in enumerate(order["examples"]):
            self.tell("example", number=number)
            try:
                read = self.value if number < order["proposed"] else self.real
                result = function(**{name: read(value) for name, value in example.items()})
            except BaseException as error:  # noqa: BLE001 - whatever the draft does is a finding
                return self.tell("failed", at="example", number=number, **self.describe(error))
            if wrong := self.judge(result):
                return self.tell("wrong", number=number, **wrong)
            self.tell("ran", number=number, result=shown(result))
            first = first if number else copy.deepcopy(result)
        self.tell("tests")
        if not order["test"]:
            return self.tell("done")
        failure = self.tests(module, function)
        if failure:
            return self.tell("failed", at="test", **failure)
        self.tell("tested")
        stubs: dict[str, Callable[..., Any]] = {"returns empty values": lambda *_, **__: self.empty()}
        if order["examples"] and order["examples"][0]:
            stubs["returns the same result for every input"] = lambda *_, **__: copy.deepcopy(first)
        for name, stub in stubs.items():
            self.tell("stub", name=name)
            if self.tests(module, stub) is None:
                return self.tell("fooled", name=name)
        return self.tell("done")

    def value(self, value: Any) -> Any:
        """An example's value: {"file"}, {"output"} and {"array"} stand for what JSON cannot say."""
        if isinstance(value, dict) and set(value) == {"file", "text"}:
            path = self.files / value["file"]
            path.write_text(value["text"], encoding="utf-8")
            return path
        if isinstance(value, dict) and set(value) == {"output"}:
            from wfe import Output

            path = Output(Path(tempfile.mkdtemp(dir=self.files)) / value["output"])
            self.written.append(path)
            return path
        if isinstance(value, dict) and "array" in value:
            import numpy

            shape = value["array"]
            size = 1
            for length in shape:
                size *= length
            return (numpy.arange(size) % 251).reshape(shape).astype(value.get("dtype", "uint8"))
        return copy.deepcopy(value)

    def real(self, value: Any) -> Any:
        """A value from the steps before; what JSON cannot say stands as {"wfe-real", "path"}."""
        if isinstance(value, dict) and "wfe-real" in value:
            if value["wfe-real"] == "array":
                import numpy

                return numpy.load(value["path"], allow_pickle=False)
            return Path(value["path"]) if value["wfe-real"] == "file" else value["path"]
        if isinstance(value, dict):
            return (
                self.value(value) if set(value) == {"output"} else {key: self.real(one) for key, one in value.items()}
            )
        return [self.real(one) for one in value] if isinstance(value, list) else value

    def judge(self, result: Any) -> dict[str, str]:
        """What is wrong with a result: {expected, got}, or nothing."""
        outputs = self.order["outputs"]
        if not isinstance(result, dict):
            return {
                "expected": f"a dict with the keys {sorted(outputs)}",
                "got": f"{type(result).__name__}: {shown(result)}",
            }
        if set(result) != set(outputs):
            return {"expected": f"exactly the keys {sorted(outputs)}", "got": f"the keys {sorted(map(str, result))}"}
        for key, kind in outputs.items():
            if not is_of(result[key], kind):
                return {
                    "expected": f"{key!r} of type {kind}",
                    "got": f"{type(result[key]).__name__}: {shown(result[key])}",
                }
            if lack := unspeakable(result[key]):
                return {"expected": f"{key!r} made of JSON values or arrays", "got": lack}
        missing = [path.name for path in self.written if not path.is_file()]
        self.written.clear()
        return {"expected": f"the output file {missing[0]!r}", "got": "no such file was written"} if missing else {}

    def tests(self, module: types.ModuleType, function: Callable[..., Any]) -> dict[str, Any] | None:
        """Run the tests against `function` in the node's place; the first failure, None when all pass."""
        name = self.order["name"]
        kept = getattr(module, name)
        setattr(module, name, function)
        try:
            space: dict[str, Any] = {"__name__": "test", name: function}
            exec(compile(self.order["test"], "test", "exec"), space)
            found = [one for key, one in space.items() if key.startswith("test_") and callable(one)]
            if not found:
                return {"kind": "NoTest", "message": "no function named test_...", "line": 1, "file": "test"}
            for one in found:
                wanted = inspect.signature(one).parameters
                one(**{"tmp_path": Path(tempfile.mkdtemp(dir=self.files))} if "tmp_path" in wanted else {})
        except BaseException as error:  # noqa: BLE001 - whatever the draft does is a finding
            return self.describe(error)
        finally:
            setattr(module, name, kept)
        return None

    def empty(self) -> dict[str, Any]:
        made = {key: copy.deepcopy(NUMBER.get(kind)) for key, kind in self.order["outputs"].items()}
        if "array" in self.order["outputs"].values():
            import numpy

            made |= {
                key: numpy.zeros((1, 1, 3), "uint8") for key, kind in self.order["outputs"].items() if kind == "array"
            }
        return made

    def describe(self, error: BaseException) -> dict[str, Any]:
        """Kind, message, and the deepest line of the draft or of its test that led to the error."""
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if frame.filename in (self.order["code"], "test")]
        last = ours[-1] if ours else None
        if isinstance(error, SyntaxError) and error.filename == "test":
            return {
                "kind": "SyntaxError",
                "message": str(error),
                "line": error.lineno or 1,
                "file": "test",
                "text": error.text or "",
            }
        text = last.line or "" if last else ""
        if last and last.filename == "test":
            lines = self.order["test"].splitlines()
            text = lines[last.lineno - 1].strip() if last.lineno and last.lineno <= len(lines) else ""
        return {
            "kind": type(error).__name__,
            "message": str(error)[:500],
            "line": (last.lineno or 0) if last else 0,
            "file": "test" if last and last.filename == "test" else "code",
            "text": text[:200],
        }


def is_of(value: Any, kind: str) -> bool:
    """Whether a returned value is of the declared kind (the kinds of wfe.core.types)."""
    if kind == "array":
        return type(value).__module__ == "numpy" and hasattr(value, "dtype")
    if kind in ("path", "output"):
        return isinstance(value, str | Path)
    if kind == "float":
        return isinstance(value, float | int) and not isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    simple: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "list": (list, tuple), "dict": (dict,)}
    return kind not in simple or isinstance(value, simple[kind])


def unspeakable(value: Any) -> str:
    """Why a value cannot leave a node without a codec, empty when it can."""
    if isinstance(value, dict):
        return next(
            (
                lack
                for key, one in value.items()
                if (lack := unspeakable(one) or ("" if isinstance(key, str) else f"the key {key!r}"))
            ),
            "",
        )
    if isinstance(value, list | tuple):
        return next((lack for one in value if (lack := unspeakable(one))), "")
    if value is None or isinstance(value, str | bool | int | float | Path) or type(value).__module__ == "numpy":
        return ""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 600 else text[:600] + " ..."


if __name__ == "__main__":
    Trial(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).run()
    # The node may have left threads that never end.
    sys.stdout.flush()
    import os

    os._exit(0)
