"""Node x Signature -> the bindings of a step's parameters, and every problem of them.

Knows references, parameters, types and auto-injection. Does not know files, code or environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wfe.core.disk import LEXICAL, Disk
from wfe.core.document import Path
from wfe.core.reference import NotAReference, escape, may_stand, names_in, ref_of, refs_in, substitute, unescape
from wfe.core.signature import Parameter, Signature
from wfe.core.step import ITEM, ITEMS, OUTER, Binding, binding_refs
from wfe.core.types import ANY, OUTPUT, PATH, Type
from wfe.core.workflow import Node, Ref, Workflow
from wfe.errors import Problem, nearest

Known = Mapping[str, "Upstream"]
Refs = tuple[tuple[Path, str, Path], ...]


class Upstream:
    """What another step offers: its outputs (None: not known before it runs), and whether it is a fan (its outputs are
    lists, one entry an item)."""

    __slots__ = ("_fits", "fan", "files", "outputs")

    def __init__(self, signature: Signature | None, fan: bool) -> None:
        self.fan = fan
        self._fits: dict[tuple[Path, int], tuple[Type, bool]] = {}
        self.files = [one.name for one in signature.parameters if one.type.has("output")] if signature else []
        outputs: dict[str, Type] | None = None
        if signature and signature.outputs is not None:
            outputs = {**signature.outputs, **{name: PATH for name in self.files if name not in signature.outputs}}
        self.outputs = outputs

    def name_in(self, trail: Path) -> str:
        """The name of the output that `trail` leads into; "" for the whole."""
        rest = trail[1:] if self.fan and trail and isinstance(trail[0], int) else trail
        return str(rest[0]) if rest else ""

    def has(self, trail: Path) -> bool:
        """Whether there may be an output at `trail`."""
        if self.outputs is None:
            return True
        name = self.name_in(trail)
        return not name or name in self.outputs

    def type_of(self, trail: Path) -> Type:
        """The type of the output at `trail`, which there may be; ANY when not known."""
        if self.fan and trail and isinstance(trail[0], int):
            return self._type(trail[1:])
        inner = self._type(trail)
        return Type("list", (inner,)) if self.fan else inner

    def fits(self, trail: Path, told: Type) -> bool:
        """Whether there may be an output at `trail`, of a type that `told` may be. Found once for each: thousands of steps ask
        the same."""
        found = self._fits.get((trail, id(told)))
        if found is None:  # with the type itself, so that no other gets its id
            found = self._fits[trail, id(told)] = (told, self.has(trail) and told.may_be(self.type_of(trail)))
        return found[1]

    def _type(self, trail: Path) -> Type:
        return self.outputs[str(trail[0])] if self.outputs is not None and len(trail) == 1 else ANY


class Binder:
    """Binds the nodes of one workflow. `problems` grows with everything that is wrong."""

    def __init__(
        self,
        workflow: Workflow,
        params: Mapping[str, Any],
        upstreams: Known,
        problems: list[Problem],
        disk: Disk = LEXICAL,
    ) -> None:
        self.disk = disk
        self.workflow = workflow
        self.params = {name: escape(value) for name, value in params.items()}
        self.upstreams = upstreams
        self.problems = problems
        self.targets: dict[str, tuple[str, str, Path]] = {}  # place of a file -> (step, parameter, place)

    def wrong(self, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message, self.workflow.place(path), hint))

    def tree(
        self, node: Node, value: Any, path: Path, items: tuple[str, ...] = ()
    ) -> tuple[Any, list[tuple[Path, Ref]]]:
        """A value of the document with parameters put in, and the references inside it, each checked to exist.

        `items`: the names under which a `foreach` node refers to its item, of a nested one the outer's first.
        """
        if not may_stand(value):
            return value, []

        own = (*items, "key", "index") if items else ()
        params = {name: known for name, known in self.params.items() if name not in own} if own else self.params

        def unknown(inner: Path, name: str) -> None:
            if name.partition(".")[0] in own:
                if name in self.params:
                    text = f"step {node.id!r}: {'${' + name + '}'} could be the item's or the parameter's"
                    self.wrong((*path, *inner), text, "give the parameter another name")
                return  # put in when the items are known
            self.no_parameter(node, name, (*path, *inner))

        before = len(self.problems)
        value = substitute(value, params, unknown)
        if len(self.problems) > before:
            return None, []  # what is left of it would be told as no reference
        try:
            refs = list(refs_in(value))
        except NotAReference as error:
            text = str(error)
            self.wrong(
                (*path, *error.path),
                f"step {node.id!r}: {text!r} is no reference",
                f"$step.output refers to a step, ${{name}} to a parameter; write {'$' + text!r} for the text itself",
            )
            return None, []
        good = []
        for inner, ref in refs:
            if ref.step in items:
                good.append((inner, Ref(ITEM if ref.step == items[-1] else OUTER, ref.trail)))
            elif self.exists(node, ref, (*path, *inner), items):
                good.append((inner, ref))
        return value, good

    def no_parameter(self, node: Node, name: str, path: Path, items: tuple[str, ...] = ()) -> None:
        """Tell that there is no such parameter. items: names of an item that stand here for themselves alone."""
        hint = nearest(name, list(self.params)) or "declare it under workflow.params"
        first = name.partition(".")[0]
        if first in items or first in self.upstreams:
            hint = f"write ${name} for {'the item' if first in items else 'what a step gives'}"
        self.wrong(path, f"step {node.id!r}: no parameter {name!r}", hint)

    def exists(self, node: Node, ref: Ref, path: Path, items: tuple[str, ...]) -> bool:
        upstream = self.upstreams.get(ref.step)
        if upstream is not None and ref.step != node.id and upstream.has(ref.trail):
            return True
        what = (
            f"step {node.id!r}: input {path[3]!r}"
            if len(path) > 3 and path[2] == "inputs"
            else f"step {node.id!r}: {path[2]!r}"
        )
        if upstream is None:
            if ref.step in (ITEM, "matrix"):
                # A node that is not sound may have lost the fan that was meant.
                if node.sound:
                    fan = "matrix" if ref.step == "matrix" else "foreach"
                    hint = f"here an item is ${items[-1]}" if items else f"only a node with {fan!r} has one"
                    self.wrong(path, f"{what} refers to ${ref.step}, which step {node.id!r} does not have", hint)
                return False
            hint = nearest(ref.step, list(self.upstreams))
            if ref.step in self.params:
                hint = f"the parameter is written ${{{ref.step}}}"
            self.wrong(path, f"{what} refers to unknown step {ref.step!r}", hint)
            return False
        if ref.step == node.id:
            self.wrong(path, f"{what} refers to the step itself")
            return False
        name = upstream.name_in(ref.trail)
        hint = nearest(name, list(upstream.outputs or ())) or "it returns nothing"
        self.wrong(path, f"{what} refers to output {name!r}, which step {ref.step!r} does not have", hint)
        return False

    def bind(self, node: Node, signature: Signature, items: tuple[str, ...] = ()) -> dict[str, Binding]:
        """Every parameter of the function -> its binding."""
        bindings: dict[str, Binding] = {}
        known = {parameter.name: parameter for parameter in signature.parameters}
        for name, raw in node.inputs.items():
            at: Path = (*node.at, "inputs", name)
            parameter = known.get(name)
            if parameter is None:
                if signature.extra is None:
                    shown = signature.function.removeprefix("nodes.")
                    self.wrong(
                        at,
                        f"step {node.id!r}: {shown!r} has no input {name!r}",
                        nearest(name, list(known)) or "it takes no inputs",
                    )
                    continue
                parameter = Parameter(name, signature.extra, True)
            binding = self.explicit(node, parameter, raw, at, items)
            if binding is not None:
                bindings[name] = binding
        for parameter in signature.parameters:
            if parameter.name not in node.inputs:
                found = self.inject(node, parameter)
                if found is not None:
                    bindings[parameter.name] = found
        return bindings

    def explicit(self, node: Node, parameter: Parameter, raw: Any, at: Path, items: tuple[str, ...]) -> Binding | None:
        told = parameter.type
        tree, plain, waits = raw, raw, False
        holes: Refs = ()
        if may_stand(raw):
            whole = () if items else self.whole(node, told, raw)
            if whole:
                return self.binding(parameter, told.takes, None, whole)
            before = len(self.problems)
            value, refs = self.tree(node, raw, at, items)
            if len(self.problems) > before:
                return None
            if refs and refs[0][0] == () and refs[0][1].step not in ITEMS:
                offered = self.upstreams[refs[0][1].step].type_of(refs[0][1].trail)
                if not told.may_be(offered):
                    self.wrong(
                        at, f"step {node.id!r}: input {parameter.name!r} must be {told}, but {refs[0][1]} is {offered}"
                    )
                    return None
            tree, holes = binding_refs(value, refs)
            # An item's own values are put in later, and `$${key}` must not look like one of them until then.
            plain = unescape(tree)
            if not items:
                tree = plain
            # A text that is nothing but `${key}` becomes what it stands for: of which type, only the items tell.
            waits = bool(items) and list(names_in(value)) != list(names_in(value, spliced=True))
        if not holes and not waits and not told.accepts(plain):
            where, text = told.refusal(plain)
            self.wrong((*at, *where), f"step {node.id!r}: input {parameter.name!r}{text}")
            return None
        kind = self.kind(parameter, "" if holes else tree)
        if kind == "output":
            return self.output(node, parameter, tree, bool(holes), at, bool(items))
        return self.binding(parameter, kind, tree, holes)

    def whole(self, node: Node, told: Type, raw: Any) -> Refs:
        """The reference that an input is as a whole, as most are; () where there is more to look at, or to tell."""
        if not isinstance(raw, str) or "${" in raw or told.takes == "output":
            return ()
        try:
            ref = ref_of(raw)
        except NotAReference:
            return ()
        upstream = self.upstreams.get(ref.step) if ref is not None and ref.step != node.id else None
        if ref is None or upstream is None or not upstream.fits(ref.trail, told):
            return ()
        return (((), ref.step, ref.trail),)

    @staticmethod
    def binding(parameter: Parameter, kind: str, tree: Any, refs: Refs, late: bool = False) -> Binding:
        told = parameter.type
        return Binding(kind, tree, refs, late, parameter.optional, told.optional, told.mixed, told.mixing)

    @staticmethod
    def kind(parameter: Parameter, tree: Any) -> str:
        takes = parameter.type.takes
        if takes == "output":
            return takes if tree is not None else "value"
        return "value" if parameter.type.mixed and not isinstance(tree, str) else takes

    def output(
        self, node: Node, parameter: Parameter, tree: Any, has_refs: bool, at: Path, fan: bool
    ) -> Binding | None:
        """fan: whether `tree` is a pattern of paths, one for each item."""
        if has_refs:
            self.wrong(
                at,
                f"step {node.id!r}: the path of output {parameter.name!r} must be known before the run",
                "write it out, or use ${param}",
            )
            return None
        if not tree or tree.endswith(("/", "\\")):
            self.wrong(at, f"step {node.id!r}: output {parameter.name!r} must name a file, found {tree!r}")
            return None
        if fan and "${" in tree:
            return Binding("output", tree)  # an item's own path, known when the items are
        path = unescape(tree) if fan else tree
        barred = self.disk.barred(path)
        if barred:
            self.wrong(at, f"step {node.id!r} would write {path!r}, which is {barred}", "write another file")
            return None
        other = self.targets.setdefault(self.disk.place(path), (node.id, parameter.name, at))
        if other[2] != at:
            place = self.workflow.place(other[2])
            self.wrong(
                at, f"step {node.id!r} writes {tree!r}, and so does step {other[0]!r}", f"the other is at {place}"
            )
            return None
        return Binding("output", tree)

    def inject(self, node: Node, parameter: Parameter) -> Binding | None:
        """The output of the parameter's name among the steps that the node depends on. None: leave the parameter out."""
        name = parameter.name
        certain: list[str] = []
        unknown: list[str] = []
        for other in dict.fromkeys(node.depends_on):
            upstream = self.upstreams.get(other)
            if upstream is None:
                continue
            if upstream.outputs is None:
                unknown.append(other)
            elif name in upstream.outputs and (
                not parameter.optional or parameter.type.may_be(upstream.type_of((name,)))
            ):
                certain.append(other)
        if parameter.type.kind == OUTPUT.kind:
            certain, unknown = [], []
        if len(certain) > 1:
            self.wrong(
                (*node.at, "depends_on"),
                f"step {node.id!r}: input {name!r} could come from {' or '.join(f'${other}.{name}' for other in certain)}",
                f'say which: "inputs": {{{name!r}: "${certain[0]}.{name}"}}'.replace("'", '"'),
            )
            return None
        if certain:
            offered = self.upstreams[certain[0]].type_of((name,))
            if not parameter.type.may_be(offered):
                self.wrong(
                    (*node.at, "depends_on"),
                    f"step {node.id!r}: input {name!r} must be {parameter.type}, but ${certain[0]}.{name} is {offered}",
                    "bind it explicitly",
                )
                return None
        if certain or unknown:
            refs = tuple(((), other, (name,)) for other in certain or unknown)
            return self.binding(parameter, self.kind(parameter, ""), None, refs, late=not certain)
        if parameter.unread:
            self.wrong(
                (*node.at, "inputs") if node.inputs else node.at,
                f"step {node.id!r}: the default of input {name!r} names a file that only a run of the module could tell",
                f"give {name!r} under 'inputs', or write the default as a text or Path('...')",
            )
        if parameter.files is not None:
            if not parameter.type.has("output"):
                return Binding("file", parameter.files, spare=True)
            return self.output(node, parameter, parameter.files, False, (*node.at, "inputs"), False)
        if not parameter.optional:
            known = {
                key
                for other in node.depends_on
                if other in self.upstreams
                for key in self.upstreams[other].outputs or ()
            }
            hint = nearest(name, sorted(known)) if known and name not in known else ""
            what = "a path to write to" if parameter.type.has("output") else "a value"
            self.wrong(
                (*node.at, "inputs") if node.inputs else node.at,
                f"step {node.id!r}: input {name!r} ({parameter.type}) is missing",
                hint or f"give it {what} under 'inputs', or name a step that returns {name!r} in 'depends_on'",
            )
        return None
