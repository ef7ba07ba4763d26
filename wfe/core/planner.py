"""Workflow x Signatures -> Plan. All that can be wrong is found here, all at once.

Asks a Catalogue for signatures and code and an Environments for where a node runs; both are protocols, so that this
stays pure. Does not look at files and does not know what is current.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from wfe.core.bind import Binder, Upstream
from wfe.core.disk import LEXICAL, Disk
from wfe.core.document import Path
from wfe.core.fan import expand, fan_of, matrix_of
from wfe.core.fan_files import FanFiles, folders_of
from wfe.core.foresee import beyond, condition
from wfe.core.graph import Cycle, closure, order, reverse
from wfe.core.include import inline
from wfe.core.option import OPTIONS
from wfe.core.params import settle, stand_in, uncertain
from wfe.core.plan import Plan
from wfe.core.reference import escape
from wfe.core.signature import Signature
from wfe.core.step import ITEMS, Binding, Options, Step, binding_refs, texts_in
from wfe.core.when import WhenError, split
from wfe.core.workflow import Node, Ref, Workflow
from wfe.errors import Place, Problem, WorkflowError, nearest


class Code(NamedTuple):
    """What a function reaches: the digest, the files of the project that count, third parties' top-level names, the files
    and folders of the project that would be looked into if they were there (perhaps those of other functions too), and those
    of modules that it imports and that are nowhere."""

    digest: str
    files: tuple[str, ...] = ()
    packages: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    lacking: tuple[str, ...] = ()


class Catalogue(Protocol):
    """The node functions of a project."""

    def find(self, function: str) -> Signature | None:
        """The node of this name, `vision.detect.detect` or, where no other has it, `detect`. Raises WorkflowError."""
        ...

    def names(self) -> Sequence[str]:
        """All names that `find` knows; for hints only, since it reads every file."""
        ...

    def code(self, signature: Signature) -> Code: ...

    def place(self, signature: Signature) -> Place: ...


class Placed(NamedTuple):
    """Where a node runs: what the action key says of it, and the prefix ("" the main environment)."""

    environment: str
    prefix: str = ""


Environments = Callable[[Sequence[tuple[Node, Signature, Code]]], Mapping[str, Placed]]
"""Places all nodes of a workflow at once, since what fits together may share an environment: node id -> Placed."""


def plan(
    workflow: Workflow,
    overrides: Mapping[str, Any],
    catalogue: Catalogue,
    environments: Environments,
    load: Callable[[str, Place], Workflow] | None = None,
    *,
    known: Sequence[Problem] = (),
    absent: Callable[[str], str | None] = lambda path: None,
    disk: Disk = LEXICAL,
) -> Plan:
    """Bind every node of `workflow`. `load(name, place)` reads an included workflow. known: problems that the document
    has already. absent(path): None when there is such an input file, else a hint. disk: which file a path means.

    Raises WorkflowError with all problems, in the order of their places.
    """
    params, problems = settle(workflow, overrides)
    problems = [*known, *problems]
    left = {name: stand_in(param) for name, param in workflow.params.items() if name not in params}
    if left:
        aside = uncertain(workflow, left)
        try:
            plan(workflow, {**overrides, **left}, catalogue, nowhere, load, known=known, absent=absent, disk=disk)
        except WorkflowError as error:
            # Of all that is wrong, only what goes by one of the stand-ins is not told: it may not be.
            problems += [one for one in error.problems if one not in problems and one.place not in aside]
        raise WorkflowError(problems)
    workflow = inline(workflow, {name: escape(value) for name, value in params.items()}, load, problems)
    return _Planner(workflow, params, catalogue, environments, problems, absent, disk).plan()


def nowhere(asked: Sequence[tuple[Node, Signature, Code]]) -> Mapping[str, Placed]:
    """The `Environments` of a plan that is only looked at: every node in the main one, none resolved."""
    return {node.id: Placed("") for node, _, _ in asked}


_SOURCES = (".py", ".so", ".pyd")
_NO_OPTIONS = Options()
_said = attrgetter(*OPTIONS)
_SILENT = (None,) * len(OPTIONS)


class _Planner:
    def __init__(
        self,
        workflow: Workflow,
        params: Mapping[str, Any],
        catalogue: Catalogue,
        environments: Environments,
        problems: list[Problem],
        absent: Callable[[str], str | None],
        disk: Disk,
    ) -> None:
        self.disk = disk
        self.absent = absent
        self.workflow = workflow
        self.params = params
        self.catalogue = catalogue
        self.environments = environments
        self.problems = problems
        self.signatures: dict[str, Signature | None] = {}
        self.outputs: dict[str, Mapping[str, str] | None] = {}  # as they are declared
        self.codes: dict[str, Code] = {}
        self.written_into: dict[str, list[str]] = {}  # place of a directory -> the steps that write into it

    def plan(self) -> Plan:
        nodes = self.workflow.nodes
        for node in nodes:
            if node.function not in self.signatures:
                found = self.signatures[node.function] = self.signature(node)
                told = found.outputs if found is not None and found.declared else None
                self.outputs[node.function] = None if told is None else {name: str(one) for name, one in told.items()}
        upstreams: dict[str, Upstream] = {}
        offers: dict[tuple[str, bool], Upstream] = {}
        for node in nodes:
            # Which of two with the same id is meant, nobody can say: then neither's outputs are.
            function = "" if node.id in upstreams else node.function
            fan = node.foreach is not None or node.matrix is not None
            if (function, fan) not in offers:
                offers[function, fan] = Upstream(self.signatures.get(function), fan)
            upstreams[node.id] = offers[function, fan]
        binder = Binder(self.workflow, self.params, upstreams, self.problems, self.disk)
        steps = {node.id: self.step(node, binder) for node in nodes}
        self.files_as_folders(binder)
        self.edges_of_files(steps, binder)
        members = self.members(steps)
        for node in nodes if members else ():
            for path, text in beyond(steps[node.id], members):
                self.wrong((*node.at, *path), f"step {node.id!r}: {text}")
        self.files_of_members(steps, members)
        fans = FanFiles(steps, members, self.disk)
        steps.update(fans.edges())
        self.input_files(steps, fans)
        ordered = self.ordered(steps)
        self.located(steps)
        self.sources_written({**steps, **{one.id: one for each in members.values() for one in each}})
        if self.problems:
            each = dict.fromkeys(self.problems)  # a source that cannot be read is told by every node that it has
            raise WorkflowError(
                sorted(each, key=lambda problem: (problem.place.file, problem.place.line, problem.place.column))
            )
        return Plan(
            workflow=self.workflow.name,
            title=self.workflow.title,
            description=self.workflow.description,
            steps={name: steps[name] for name in ordered},
            params=self.params,
            max_parallel=self.workflow.settings.max_parallel_nodes,
            pools=self.workflow.settings.pools,
            functions=sum(1 for signature in self.signatures.values() if signature),
        )

    def members(self, steps: Mapping[str, Step]) -> dict[str, list[Step]]:
        """The steps of the fans over constants. What is wrong with one is known now, and need not wait for its turn."""
        found = {}
        for node in self.workflow.nodes:
            step = steps[node.id]
            if step.fan is None or not step.fan.constant:
                continue
            try:
                inner = None if step.fan.inner is None else step.fan.inner[0]
                found[node.id] = expand(step, step.fan.items, (), inner, self.disk)
                self.check_types(node, found[node.id])
                self.check_when(node, found[node.id])
            except ValueError as error:
                at = "matrix" if node.matrix is not None else "foreach"
                self.wrong((*node.at, at), f"step {node.id!r}: {error}")
        return found

    def check_types(self, node: Node, members: Sequence[Step]) -> None:
        """Whether the inputs' types take what the items of a fan over constants put in, unless `when` may leave some out."""
        signature = self.signatures.get(node.function)
        for name in node.inputs if node.when is None else ():
            parameter = signature.parameter(name) if signature else None
            if parameter is None or parameter.type.has("output"):
                continue
            given = [(one.id, one.inputs[name]) for one in members if name in one.inputs]
            wrong = [(id, one.value) for id, one in given if not one.refs and not parameter.type.accepts(one.value)]
            if wrong:
                id, value = wrong[0]
                _, text = parameter.type.refusal(value, len(wrong) - 1)
                self.wrong((*node.at, "inputs", name), f"step {id!r}: input {name!r}{text}")

    def check_when(self, node: Node, members: Sequence[Step]) -> None:
        """Whether the condition of a fan over constants can be asked of each of its items."""
        place = self.workflow.place((*node.at, "when"))
        if any(one.place == place for one in self.problems):
            return  # it was told for all of them
        for one in members:
            why = condition(one.id, one.when) if one.when is not None else ""
            if why:
                self.wrong((*node.at, "when"), f"step {one.id!r}: 'when': {why}")
                return

    def wrong(self, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message, self.workflow.place(path), hint))

    def signature(self, node: Node) -> Signature | None:
        if not node.function:
            return None
        try:
            found = self.catalogue.find(node.function)
        except WorkflowError as error:
            at = self.workflow.place((*node.at, "function"))
            self.problems.extend(one if one.place.file else replace(one, place=at) for one in error.problems)
            return None
        if found is None:
            hint = (
                nearest(node.function.removeprefix("nodes."), self.catalogue.names()) or "`wfe list --nodes` lists them"
            )
            self.wrong((*node.at, "function"), f"step {node.id!r}: unknown function {node.function!r}", hint)
            return None
        for line, column, text in found.problems:
            place = replace(self.catalogue.place(found), line=line, column=column)
            self.problems.append(Problem(f"{found.name}: {text}", place))
        return found

    def step(self, node: Node, binder: Binder) -> Step:
        """The step of a node; of a fan, the one that gathers."""
        known = binder.upstreams
        before = [other for other in (*node.depends_on, *node.after) if other in known and other != node.id]
        signature = self.signatures[node.function] if node.sound else None
        fan = (
            fan_of(node, binder)
            if node.foreach is not None
            else matrix_of(node, binder)
            if node.matrix is not None
            else None
        )
        when = self.when(node, binder, fan.names if fan else ())
        if signature is None:
            for name, raw in node.inputs.items():  # its references can be checked all the same
                binder.tree(node, raw, (*node.at, "inputs", name), fan.names if fan else ())
            return Step(node.id, node.function, needs=tuple(dict.fromkeys(before)))
        inputs = binder.bind(node, signature, fan.names if fan else ())
        needs = dict.fromkeys(before)
        for refs in (*(one.refs for one in inputs.values()), fan.steps if fan else (), when.refs if when else ()):
            for _, other, _ in refs:
                if other not in ITEMS:
                    needs[other] = None
        return Step(
            id=node.id,
            function=signature.function,
            inputs=inputs,
            needs=tuple(needs),
            outputs=self.outputs[node.function],
            options=self.options(node, signature),
            when=when,
            fan=fan,
            description=node.description or signature.doc.partition("\n")[0],
        )

    def located(self, steps: dict[str, Step]) -> None:
        """Add what a step's function reaches, and where it runs: that is asked only when all else is well."""
        asked = []
        for node in self.workflow.nodes:
            signature = self.signatures[node.function]
            if signature is None:
                continue
            try:
                if signature.function not in self.codes:
                    self.codes[signature.function] = self.catalogue.code(signature)
                asked.append((node, signature, self.codes[signature.function]))
            except WorkflowError as error:
                self.problems.extend(problem for problem in error.problems if problem not in self.problems)
        if self.problems:
            return
        written = {name: found for name, step in steps.items() if (found := step.targets())}
        placed = self.environments(asked)
        for node, _, code in asked:
            where, step = placed[node.id], steps[node.id]
            # The items that come in the run may name any file.
            before = written if step.fan is not None and not step.fan.constant and step.reads_files else step.needs
            places = [
                (other, parameter, path)
                for other in (before if written else ())
                for parameter, path in sorted(written.get(other, {}).items())
                if other != node.id
            ]
            steps[node.id] = step.located(code, where.environment, where.prefix, tuple(places))

    def sources_written(self, steps: Mapping[str, Step]) -> None:
        """A source is read before anything runs: a step that writes one would change what others are, behind their back."""
        written = [
            (step, name, path)
            for step in steps.values()
            for name, path in step.targets().items()
            if path.endswith(_SOURCES)
        ]
        if not written:
            return
        read = {self.disk.place(path) for code in self.codes.values() for path in (*code.files, *code.missing)}
        at = {node.id: node.at for node in self.workflow.nodes}
        for step, name, path in written:
            place = self.disk.place(path)
            if not read.isdisjoint((place, *folders_of(place))):  # with a file in it, a folder is a package
                self.wrong(
                    (*at[step.parent or step.id], "inputs", name),
                    f"step {step.id!r} would write {path!r}, which a function of this workflow imports",
                    "sources are read before anything runs; write it in a workflow of its own",
                )

    def options(self, node: Node, signature: Signature) -> Options:
        told = signature.options
        if _said(node) == _SILENT and OPTIONS.keys().isdisjoint(told):
            return _NO_OPTIONS

        def choose(name: str, default: Any) -> Any:
            said = getattr(node, name)
            return said if said is not None else told.get(name, default)

        resources = {**told.get("resources", {}), **(node.resources or {})}
        return Options(
            cache=choose("cache", "auto"),
            seed=choose("seed", None),
            ttl=choose("ttl", None),
            device=choose("device", None),
            retries=choose("retries", 0),
            timeout=choose("timeout", None),
            resources=tuple(sorted(resources.items())),
            environment=choose("environment", None),
            isolation_mode=choose("isolation_mode", "auto"),
        )

    def when(self, node: Node, binder: Binder, items: tuple[str, ...]) -> Binding | None:
        if node.when is None:
            return None
        at: Path = (*node.at, "when")
        try:
            expression, refs, params = split(node.when)
        except WhenError as error:
            self.wrong(at, f"step {node.id!r}: 'when': {error}")
            return None
        # What stands for a value in the expression: [as the document calls it, the value].
        given = {}
        for index, name in enumerate(params):
            if name not in self.params:
                binder.no_parameter(node, name, at, items)
            given[f"_p{index}"] = [f"${{{name}}}", self.params.get(name)]
        holes = []
        for index, ref in enumerate(refs):
            _, found = binder.tree(node, ref, at, items)
            holes += [((f"_r{index}",), one.step, one.trail) for _, one in found]
        asked = Binding("when", [expression.strip(), given], tuple(holes))
        why = condition(node.id, asked, not items and all(name in self.params for name in params))
        if why:
            self.wrong(at, f"step {node.id!r}: 'when': {why}")
        return asked

    def files_as_folders(self, binder: Binder) -> None:
        """What one step writes as a file, another cannot write into."""
        for place, (name, _, at) in binder.targets.items():
            for folder in folders_of(place):
                other = binder.targets.get(folder)
                if other:
                    self.wrong(
                        at,
                        f"step {name!r} writes into {os.path.basename(folder)!r}, which step {other[0]!r} writes as a file",
                        f"the other is at {self.workflow.place(other[2])}",
                    )

    def edges_of_files(self, steps: dict[str, Step], binder: Binder) -> None:
        """An input file that another step writes is that step's output: bind it so, which makes the edge. A directory that
        another step writes into is read after it, unless that step needs the reader."""
        for place, (writer, _, _) in binder.targets.items():
            for folder in folders_of(place):
                self.written_into.setdefault(folder, []).append(writer)
        for name, step in steps.items():
            for parameter, binding in step.inputs.items():
                if binding.kind != "file":
                    continue
                refs = []
                for path, text in texts_in(binding.value) if binder.targets else ():
                    places = dict.fromkeys((self.disk.place(text), self.disk.leads(text)))
                    target = next((binder.targets[one] for one in places if one in binder.targets), None)
                    if target and target[0] == name:
                        self.wrong(
                            target[2], f"step {name!r} writes {text!r}, which it also reads", "write another file"
                        )
                    elif target:
                        refs.append((path, Ref(target[0], (target[1],))))
                    writers = [writer for one in places for writer in self.written_into.get(one, ())]
                    if writers:
                        behind = closure([name], reverse({other: one.needs for other, one in steps.items()}))
                        step = step._replace(
                            needs=tuple(dict.fromkeys([*step.needs, *(one for one in writers if one not in behind)])),
                        )
                step = _bound(step, parameter, refs)
            steps[name] = step

    def files_of_members(self, steps: dict[str, Step], members: Mapping[str, Sequence[Step]]) -> None:
        """The same of what a step of a fan writes whose items are known."""
        owners = {
            self.disk.place(path): Ref(fan, (index, parameter))
            for fan, each in members.items()
            for index, one in enumerate(each)
            for parameter, path in one.targets().items()
        }
        for name, step in steps.items() if owners else ():
            for parameter, binding in step.inputs.items() if step.fan is None else ():
                refs = []
                for path, text in texts_in(binding.value) if binding.kind == "file" else ():
                    owner = owners.get(self.disk.place(text)) or owners.get(self.disk.leads(text))
                    if owner is not None:
                        refs.append((path, owner))
                steps[name] = step = _bound(step, parameter, refs)

    def input_files(self, steps: Mapping[str, Step], fans: FanFiles) -> None:
        """Input files that the document names must be there before anything runs."""
        for node in self.workflow.nodes:
            for parameter, binding in steps[node.id].inputs.items():
                if binding.kind != "file" or binding.refs or node.foreach is not None or node.matrix is not None:
                    continue
                for _, path in texts_in(binding.value):
                    if self.disk.holds_cache(path):
                        self.wrong(
                            (*node.at, "inputs", parameter),
                            f"step {node.id!r}: input {parameter!r}: the directory {path!r} holds the cache, which every run "
                            "changes",
                            "name a directory without the cache, or files",
                        )
                        continue
                    hint = self.absent(path)
                    if hint is None or fans.may_write(path):
                        continue
                    if not {self.disk.place(path), self.disk.leads(path)} & self.written_into.keys():
                        text = f"step {node.id!r}: input {parameter!r}: there is no file {path!r}"
                        self.wrong((*node.at, "inputs", parameter), text, hint)

    def ordered(self, steps: Mapping[str, Step]) -> list[str]:
        try:
            return order({name: step.needs for name, step in steps.items()})
        except Cycle as cycle:
            first = next(node for node in self.workflow.nodes if node.id == cycle.path[0])
            shown = " -> ".join(map(str, cycle.path))
            self.wrong(
                first.at,
                f"the steps depend on each other in a circle: {shown} (each needs the next)",
                "remove one of these dependencies",
            )
            return list(steps)


def _bound(step: Step, parameter: str, refs: list[tuple[Path, Ref]]) -> Step:
    """The step with parts of an input bound to the outputs of other steps."""
    if not refs:
        return step
    binding = step.inputs[parameter]
    tree, holes = binding_refs(binding.value, refs)
    bound = binding._replace(value=tree, refs=(*binding.refs, *holes))
    needs = tuple(dict.fromkeys([*step.needs, *(ref.step for _, ref in refs)]))
    return step._replace(inputs={**step.inputs, parameter: bound}, needs=needs)
