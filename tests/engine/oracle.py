"""Random workflows, random edits, and the question: is an incremental run what a clean one is, and did it run no more?

Knows how to draw a world, how to write it down as a project, and how to compare two runs of it. The node functions write a
log of their own outside the cache; what it shows to have run twice for the same inputs was run in vain.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from space import Ended, Space

from wfe.core.outcome import StepState
from wfe.engine.run import EMPTY
from wfe.errors import ExitCode

Choose = Callable[[int], int]
"""choose(n): a number from 0 to n - 1."""

NODES = """
import os
import numpy as np
import helper

def told(*what):  # -1: left out, None: null; to the function they are two inputs
    with open(os.environ["ORACLE_LOG"], "a") as file:
        file.write(repr(what) + "\\n")

@workflow_node()
def num0(a: int | None = -1, b: int | None = -1, c: int = 0):
    told("num0", a, b, c, helper.K0)
    return {"v": ((a or 0) * 3 + (b or 0) + c + helper.K0) % 5, "w": ((a or 0) + (b or 0)) % 2}

@workflow_node()
def num1(a: int | None = -1, b: int | None = -1, c: int = 0):
    told("num1", a, b, c, helper.K1)
    return {"v": ((a or 0) + 2 * (b or 0) + c * helper.one()) % 5, "w": c % 2}

@workflow_node()
def fussy(a: int | None = -1, b: int | None = -1, c: int = 0):
    if (a or 0) + c == 4:
        raise Skip("four")
    if (b or 0) == 3:
        raise ValueError("three")
    told("fussy", a, b, c)
    return {"v": (a or 0) % 3, "w": 1}

@workflow_node()
def read(path: Path, c: int = 0):
    told("read", path.read_text(), c)
    return {"v": (int(path.read_text()) + c) % 5, "w": len(path.read_text())}

@workflow_node()
def write(to: Output, a: int | None = -1, c: int = 0):
    told("write", to.name, a, c)
    to.write_text(str((a or 0) + c))

@workflow_node()
def array(a: int | None = -1, c: int = 0):
    told("array", a, c)
    return {"array": np.arange((a or 0) % 3 + c, dtype="int32")}

@workflow_node()
def size(array, c: int = 0):
    told("size", array.tolist(), c)
    return {"v": int(array.sum()) % 5, "w": len(array)}

@workflow_node()
def items(a: int | None = -1, c: int = 0):
    told("items", a, c)
    return {"items": [((a or 0) + index * 3) % 4 for index in range(c % 4)]}

@workflow_node()
def each(item: int, c: int = 0):
    if item == 3 and c == 1:
        raise Skip("three")
    told("each", item, c, helper.K2)
    return {"v": (item * 2 + c + helper.K2) % 5}

@workflow_node()
def total(values: list, c: int = 0):
    told("total", values, c)
    return {"v": sum(one or 0 for one in values) % 5, "w": len(values)}

@workflow_node(retries={"count": 1, "delay": 0})
def shy(a: int | None = -1, c: int = 0):
    mark = os.environ["ORACLE_LOG"] + f".shy-{a}-{c}"
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        os.unlink(mark)
    else:
        raise OSError("the first time never works")
    told("shy", a, c)
    return {"v": ((a or 0) + c) % 5, "w": 0}
"""
INNER: list[dict[str, Any]] = [
    {"id": "one", "function": "n.num0", "inputs": {"a": "${a}", "c": "${c}"}},
    {"id": "two", "function": "n.write", "when": "${c} < 3 or $one.v > 0", "inputs": {"a": "$one.v", "to": "${to}"}},
    {"id": "last", "function": "n.num1", "depends_on": ["two"], "inputs": {"a": "$one.v", "b": "${a}", "c": "${c}"}},
]
# kind -> (the kind that its `from` must be; "" none, "v" any that gives v)
NEEDS = {
    "num0": "v",
    "num1": "v",
    "fussy": "v",
    "read": "",
    "back": "write",
    "write": "v",
    "array": "v",
    "size": "array",
    "items": "v",
    "each": "items",
    "total": "each",
    "shy": "v",
    "include": "v",
}
GIVES_V = ("num0", "num1", "fussy", "read", "back", "size", "total", "shy", "include")


class World:
    """A workflow with the code and the files under it, as plain values."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.constants = [1, 1, 1]
        self.files = [1, 2, 3]
        self.nodes: list[dict[str, Any]] = []
        self.made = 0
        self.param = 0
        self.turned = False
        self.inner = 0
        for _ in range(4 + choose(5)):
            self.add()

    def of(self, *kinds: str) -> list[str]:
        return [node["id"] for node in self.nodes if node["kind"] in kinds]

    def some(self, names: list[str]) -> str | None:
        """One of the names or, one time in four, none."""
        return names[self.choose(len(names))] if names and self.choose(4) else None

    def add(self) -> None:
        kinds = [kind for kind, need in NEEDS.items() if need in ("", "v") or self.of(need)]
        kinds += [kind for kind in kinds if kind in ("each", "total", "include")]  # they need others, and are rare
        kind = kinds[self.choose(len(kinds))]
        need = NEEDS[kind]
        self.made += 1
        node: dict[str, Any] = {
            "id": f"s{self.made}",
            "kind": kind,
            "c": self.choose(4),
            "target": f"out/{self.made}.txt",
        }
        if need == "v":
            node["a"], node["b"] = self.some(self.of(*GIVES_V)), self.some(self.of(*GIVES_V))
            other = self.some(self.of(*GIVES_V))
            if other and kind in ("num0", "num1", "include") and not self.choose(3):
                node["when"] = f"${other}.v > {self.choose(4)}"
        elif need:
            known = self.of(need)
            node["from"] = known[self.choose(len(known))]
            node["named"] = self.choose(2)
        elif kind == "read":
            node["file"] = self.choose(3)
        self.nodes.append(node)

    def users(self, name: str) -> bool:
        return any(
            name in (node.get("a"), node.get("b"), node.get("from")) or f"${name}." in node.get("when", "")
            for node in self.nodes
        )

    def rename(self, node: dict[str, Any]) -> None:
        self.made += 1
        old, new = node["id"], f"r{self.made}"
        for one in self.nodes:
            for key in ("id", "a", "b", "from"):
                if one.get(key) == old:
                    one[key] = new
            if "when" in one:
                one["when"] = one["when"].replace(f"${old}.", f"${new}.")

    # --- written down

    def put(self, space: Space) -> None:
        """Write what differs from what the project has: an edit touches the files that it changes."""
        texts = {
            "helper.py": "".join(f"K{index} = {value}\n" for index, value in enumerate(self.constants))
            + "def one():\n    return K1\n",
            **{f"f{index}.txt": str(value) for index, value in enumerate(self.files)},
        }
        for path, text in texts.items():
            where = space.root / path
            if not where.exists() or where.read_text() != text:
                space.file(path, text)
        if not (space.root / "nodes/n.py").exists():
            space.nodes(NODES)
        nodes = [self.entry(node) for node in self.nodes]
        space.workflow(nodes[::-1] if self.turned else nodes, params={"p": 0})
        inner = [*INNER[:2], {**INNER[2], "function": f"n.num{self.inner}"}]
        space.workflow(inner, "inner", params={"a": None, "c": 0, "to": "out/inner.txt"})

    def entry(self, node: dict[str, Any]) -> dict[str, Any]:
        kind = node["kind"]
        inputs: dict[str, Any] = {"c": "${p}" if node["c"] == 3 else node["c"]}
        for key in ("a", "b"):
            if node.get(key) and (key == "a" or kind not in ("write", "array", "items", "shy", "include")):
                inputs[key] = f"${node[key]}.v"
        made: dict[str, Any] = {
            "id": node["id"],
            "function": f"n.{'read' if kind == 'back' else kind}",
            "inputs": inputs,
        }
        if kind == "include":
            del made["function"]
            made["include"] = "inner"
            inputs["to"] = node["target"]
        elif kind == "read":
            inputs["path"] = f"f{node['file']}.txt"
        elif kind == "back":
            # By the step that writes it, or by its name, which makes the same edge.
            written = next(one["target"] for one in self.nodes if one["id"] == node["from"])
            inputs["path"] = written if node["named"] else f"${node['from']}.to"
        elif kind == "write":
            inputs["to"] = node["target"]
        elif kind == "size":
            inputs["array"] = f"${node['from']}.array"
        elif kind == "each":
            made["foreach"] = f"${node['from']}.items"
            inputs["item"] = "$item"
        elif kind == "total":
            inputs["values"] = f"${node['from']}.v"
        if "when" in node:
            made["when"] = node["when"]
        return made

    # --- edits

    def edit(self, space: Space) -> str:
        """Change something, in the world or in the cache; a word for what."""
        edits = (self.code, self.file, self.touch, self.value, self.grow, self.shrink, self.new_name, self.turn,
                 self.other_param, self.harm_target, self.harm_blob, self.harm_result, self.swap, self.included)  # fmt: skip
        return edits[self.choose(len(edits))](space)

    def code(self, _: Space) -> str:
        self.constants[self.choose(3)] = self.choose(3)
        return "code"

    def file(self, _: Space) -> str:
        self.files[self.choose(3)] = self.choose(5)
        return "file"

    def swap(self, space: Space) -> str:
        """Two files of one size change places; their times go with them."""
        self.files[0], self.files[1] = self.files[1], self.files[0]
        one, two, spare = space.root / "f0.txt", space.root / "f1.txt", space.root / "spare"
        if one.exists() and two.exists():
            one.rename(spare), two.rename(one), spare.rename(two)
        return "swap"

    def touch(self, space: Space) -> str:
        for path in ("f0.txt", "helper.py", "nodes/n.py"):
            if (space.root / path).exists():
                os.utime(space.root / path)
        return "touch"

    def value(self, _: Space) -> str:
        self.nodes[self.choose(len(self.nodes))]["c"] = self.choose(4)
        return "value"

    def grow(self, _: Space) -> str:
        self.add()
        return "grow"

    def shrink(self, _: Space) -> str:
        free = [node for node in self.nodes if not self.users(node["id"])]
        if len(self.nodes) > 1:
            self.nodes.remove(free[self.choose(len(free))])
        return "shrink"

    def new_name(self, _: Space) -> str:
        self.rename(self.nodes[self.choose(len(self.nodes))])
        return "rename"

    def included(self, _: Space) -> str:
        self.inner = 1 - self.inner
        return "included"

    def turn(self, _: Space) -> str:
        self.turned = not self.turned
        return "order"

    def other_param(self, _: Space) -> str:
        self.param = self.choose(4)
        return "param"

    def harm(self, paths: list[Path]) -> None:
        if paths:
            path = paths[self.choose(len(paths))]
            path.chmod(0o644)
            if self.choose(2):
                path.unlink()
            else:
                data = path.read_bytes()
                path.write_bytes(bytes([data[0] ^ 1]) + data[1:] if data else b"x")

    def harm_target(self, space: Space) -> str:
        self.harm(sorted((space.root / "out").glob("*.txt")))
        return "target"

    def harm_blob(self, space: Space) -> str:
        self.harm(space.blobs())
        return "blob"

    def harm_result(self, space: Space) -> str:
        self.harm(sorted((space.cache / "steps/w").glob("*.json")))
        return "result"


class Crash(BaseException):
    """The engine is gone, in the middle of recording a step. In a carrier's thread this is an error of the engine itself,
    and the others go on to their ends; but they record nothing."""


class Oracle:
    """Runs a world in a project that lives on and in fresh ones, and compares."""

    def __init__(self, folder: Path, world: World, **run: Any) -> None:
        self.world = world
        self.folder = folder
        self.space = Space(folder / "living")
        self.how = run
        self.log = folder / "log"
        self.done: set[str] = set()
        self.harmed = False
        self.story: list[str] = []

    def step(self, what: str = "") -> None:
        """Run incrementally, run cleanly, compare."""
        self.told(what)
        event = self.world.choose(12)
        if event < 2:
            self.crash()
        elif event == 2:
            self.overtaken()
        self.world.put(self.space)
        other_param = self.world.choose(4) if event == 3 else self.world.param
        changes = {3: lambda _: self.rival(other_param), 4: self.rival_late}
        ended, ran = self.run(self.space, changes.get(event))
        again = [line for line in ran if line in self.done]
        if self.harmed:
            again = [line for line in again if not line.startswith(("('write'", "('array'"))]
        assert not again, f"{self.story}: run in vain: {again}"
        assert len(ran) == len(set(ran)) or self.twins(), f"{self.story}: run twice: {ran}"
        self.done.update(ran)
        clean = Space(self.folder / "clean")
        self.world.put(clean)
        other, _ = self.run(clean)
        self.compare(ended, other, clean, files=other_param == self.world.param)
        shutil.rmtree(clean.root)
        if event == 5:
            self.nothing_more(ended)

    def told(self, what: str) -> None:
        self.story.append(what)
        self.harmed = self.harmed or what in ("blob", "target")

    def twins(self) -> bool:
        """Two steps of equal inputs may both run when they run at the same time."""
        return self.how.get("jobs", 1) > 1

    def run(self, space: Space, change: Callable[[Any], object] | None = None) -> tuple[Ended, list[str]]:
        self.log.write_text("")
        os.environ["ORACLE_LOG"] = str(self.log)
        ended = space.run(p=self.world.param, change=change, **self.how)
        return ended, self.log.read_text().splitlines()

    def rival(self, param: int) -> None:
        """A whole run of another engine, perhaps with another parameter, after this one's look and before its first step."""
        self.story.append(f"rival {param}")
        ended = self.space.run(p=param, **self.how)
        assert ended.code in (ExitCode.OK, ExitCode.FAILED), f"{self.story}: {ended.code}"

    def rival_late(self, run: Any) -> None:
        """The same run of another engine when this one has decided on its first step and is about to make it."""
        claims = run.workspace.claims
        honest = claims.hold

        def hold(*given: Any) -> Any:
            claims.hold = honest
            self.rival(self.world.param)
            return honest(*given)

        claims.hold = hold

    def overtaken(self) -> None:
        """A run is open while something is edited and another run makes it; then the first goes on with what it knew.

        What it says is of no time and not compared; the next run must not be misled by what it left.
        """
        self.story.append("overtaken by")
        self.world.put(self.space)

        def change(_: Any) -> None:
            self.told(self.world.edit(self.space))
            self.world.put(self.space)
            self.done.update(self.run(self.space)[1])

        ended, _ = self.run(self.space, change)
        assert ended.code in (ExitCode.OK, ExitCode.FAILED), f"{self.story}: {ended.code}"

    def nothing_more(self, before: Ended) -> None:
        """The same once more: what was made is current, what failed fails again."""
        ended, ran = self.run(self.space)
        made = before.of(StepState.RAN) | before.of(StepState.RESTORED) | before.of(StepState.CURRENT)
        assert ended.of(StepState.CURRENT) == made, f"{self.story}: {ended.outcomes}"
        assert not ran, f"{self.story}: {ran}"

    def crash(self) -> None:
        """A run that ends in the middle of a step: before its result is recorded, or just after."""
        self.story.append("crash")
        self.world.put(self.space)
        left, after = 1 + self.world.choose(4), self.world.choose(2)

        def change(run: Any) -> None:
            honest = run.workspace.traces.save

            def save(*given: Any) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Crash  # a dead engine records nothing more, also what was running beside it
                if left or after:
                    honest(*given)
                if not left:
                    raise Crash

            run.workspace.traces.save = save

        try:
            ended, ran = self.run(self.space, change)
        except Crash:
            # All but the last are of recorded steps; with workers all but two: the next is begun while one is stored.
            lines = self.log.read_text().splitlines()[: -1 if self.how.get("inline", True) else -2]
            self.done.update([] if self.twins() else lines)  # of two at a time nobody knows which
        else:
            self.done.update(ran if ended.code is not ExitCode.BUG else [])

    def compare(self, ended: Ended, clean: Ended, fresh: Space, files: bool) -> None:
        """files: whether they can be compared; of two runs with different parameters the last one to write has its way."""
        story = self.story
        for state in (StepState.FAILED, StepState.BLOCKED, StepState.SKIPPED):
            assert ended.of(state) == clean.of(state), f"{story}: {state}"
        assert all(clean.outcomes[name].skip == EMPTY for name in clean.of(StepState.CURRENT))
        assert ended.values == clean.values, f"{story}: {ended.values} != {clean.values}"
        assert ended.code == clean.code
        for node in self.world.nodes:
            self.asked(node, clean)
            self.fanned(node, clean)
        if not files:
            return
        for name in clean.of(StepState.RAN) | clean.of(StepState.RESTORED):
            assert self.space.result_file(name).is_file(), f"{story}: {name}"
            assert self.space.result_file(name).read_bytes() == fresh.result_file(name).read_bytes(), f"{story}: {name}"
        for path in (fresh.root / "out").glob("*"):
            living = self.space.root / "out" / path.name
            assert living.is_file() and living.read_text() == path.read_text(), f"{story}: {path.name}"

    def asked(self, node: dict[str, Any], clean: Ended) -> None:
        """A step whose condition does not hold was not made. Both runs have the same conditions, so that to compare them
        would not show that they are forgotten."""
        if "when" not in node:
            return
        other, _, least = node["when"].partition(".v > ")
        other = other.removeprefix("$")
        value = clean.values.get(f"{other}__last" if other in self.world.of("include") else other)
        if value is not None and value["v"] <= int(least):
            name = f"{node['id']}__one" if node["kind"] == "include" else node["id"]
            made = clean.of(StepState.RAN) | clean.of(StepState.RESTORED)
            assert name not in made, f"{self.story}: {name} ran though {node['when']!r} does not hold"

    def fanned(self, node: dict[str, Any], clean: Ended) -> None:
        """Each item got a step, and each step its own item: this, too, both could have wrong alike."""
        items = clean.values.get(node.get("from", ""))
        if node["kind"] != "each" or items is None:
            return
        c = self.world.param if node["c"] == 3 else node["c"]
        wanted = [(item * 2 + c + self.world.constants[2]) % 5 for item in items["items"] if not (item == 3 and c == 1)]
        found = [
            value["v"]
            for name, value in clean.values.items()
            if name.startswith(f"{node['id']}[") and value is not None
        ]
        assert sorted(found) == sorted(wanted), f"{self.story}: {node['id']}: {found}, not {wanted}"
