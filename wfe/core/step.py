"""A step: a node bound in a workflow, with everything about it that is known before the run. Frozen, and plain data.

Knows how a step is written down as marshal-able tuples, since the plan of an unchanged workflow is read back rather than
made again. Does not know where results are or whether they are current.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wfe.core.digest import digest_of

if TYPE_CHECKING:
    from wfe.core.document import Path
    from wfe.core.planner import Code
    from wfe.core.workflow import Ref


ABSENT: Final = "absent:"  # how the prefix of a step begins that cannot run on this machine; the reason follows


class Binding(NamedTuple):
    """What a parameter gets.

    kind: "value"; "file" (a path whose content counts, or a list of such paths); "output" (a file to write).
    value: a JSON tree, null where `refs` put another step's output: (where in the tree, step, trail in its result); one that
    comes later may replace a part of what one before has put there.
    A `late` binding was not settled by the plan: `refs` lists the outputs of that name that may exist, at most one of
    which must; `spare` is whether the parameter can do without.
    """

    kind: str
    value: Any
    refs: tuple[tuple[Path, str, Path], ...] = ()
    late: bool = False
    spare: bool = False  # the parameter has a default: leave it out when what it refers to was skipped
    nullable: bool = False  # the parameter takes None: pass it when what it refers to was skipped
    mixed: bool = False  # of a file: the parameter takes other things than paths, too
    mixing: bool = False  # of files: other things may stand beside them in a list or dict


class Options(NamedTuple):
    """How a step runs, beyond what it computes. Only `seed` and `device` are part of the action key."""

    cache: str = "auto"
    seed: int | None = None
    ttl: float | None = None
    device: str | None = None
    retries: Any = 0
    timeout: float | None = None
    resources: tuple[tuple[str, float | str], ...] = ()
    environment: str | None = None
    isolation_mode: str = "auto"


ITEM: Final = "item"  # in a ref, the item of a fan (of a nested one the inner) in place of a step
OUTER: Final = "item:outer"  # the outer item of a nested fan
ITEMS: Final = frozenset((ITEM, OUTER))


class Fan(NamedTuple):
    """`foreach`: one step an item. items: a list (each item as refs see it) or the Ref of one. name: what items are called
    in inputs. key: the item's field that names its step, "" to choose by the item itself. inner: of a nested fan the four
    of the inner list; "item" in its refs is the outer item."""

    items: Any
    refs: tuple[tuple[Path, str, Path], ...]
    name: str = "item"
    key: str = ""
    inner: tuple[Any, tuple[tuple[Path, str, Path], ...], str, str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What the items are called: of a nested fan the outer first."""
        return (self.name,) if self.inner is None else (self.name, self.inner[2])

    @property
    def constant(self) -> bool:
        """Whether its items are known without any step."""
        return not self.steps and isinstance(self.items, list)

    @property
    def steps(self) -> tuple[tuple[Path, str, Path], ...]:
        """The refs to other steps of both levels: what must be known before the items are."""
        inner = () if self.inner is None else tuple(ref for ref in self.inner[1] if ref[1] not in ITEMS)
        return (*self.refs, *inner)


_NOTHING: Final[Mapping[str, Binding]] = MappingProxyType({})


class Step(NamedTuple):
    """One step of a plan. (A frozen dataclass of so many fields takes six times as long to make.)

    needs: ids of the steps before it, in the order of the document. outputs: declared keys -> type name, None where not
    declared. environment: what the key says of where it runs ("cpython-3.11 numpy-2.1.0", or a lock's digest);
    prefix: the interpreter's environment ("" the main one).
    """

    id: str
    function: str
    code: str = ""
    inputs: Mapping[str, Binding] = _NOTHING
    needs: tuple[str, ...] = ()
    outputs: Mapping[str, str] | None = None
    options: Options = Options()
    environment: str = ""
    prefix: str = ""
    when: Binding | None = None
    fan: Fan | None = None
    parent: str = ""  # the fan that this step is an item of
    description: str = ""
    module_files: tuple[str, ...] = ()  # the project's own files that its module imports, relative to the root
    # (step, parameter, path) of the files that the steps before it write; of all steps, if it may read any of them
    places: tuple[tuple[str, str, str], ...] = ()
    lacking: tuple[str, ...] = ()  # files and folders that would be modules which it imports and which are nowhere

    @property
    def module(self) -> str:
        return self.function.rpartition(".")[0]

    @property
    def absent(self) -> str:
        """Why the step cannot run on this machine at all, "" when it can."""
        return self.prefix.removeprefix(ABSENT) if self.prefix.startswith(ABSENT) else ""

    @property
    def static(self) -> str:
        """The digest of all that a result depends on and that the plan knows."""
        return digest_of(
            [
                self.function,
                self.code,
                sorted(self.inputs.items()),
                self.outputs if self.outputs is None else sorted(self.outputs.items()),
                [self.options.cache, self.options.seed, self.options.ttl, self.options.device],
                self.environment,
                self.when,
                self.fan,
                *([self.places] if self.places else []),  # it may be told a path, of which no mark of theirs tells
            ]
        )

    @property
    def reads_files(self) -> bool:
        """Whether it has an input that is a file."""
        return any(binding.kind == "file" for binding in self.inputs.values())

    def files(self) -> list[str]:
        """The input files that the plan knows by name."""
        found: list[str] = []
        for binding in self.inputs.values():
            if binding.kind == "file" and not binding.refs:
                found.extend(text for _, text in texts_in(binding.value))
        return found

    def targets(self) -> dict[str, str]:
        """Parameter -> path of the file that the step is to write there."""
        return {
            name: binding.value
            for name, binding in self.inputs.items()
            if binding.kind == "output" and isinstance(binding.value, str)
        }

    def located(self, code: Code, environment: str, prefix: str, places: tuple[tuple[str, str, str], ...]) -> Step:
        """The same with what its function reaches and where it runs."""
        return self._replace(
            code=code.digest,
            environment=environment,
            prefix=prefix,
            module_files=code.files,
            places=places,
            lacking=code.lacking,
        )

    def pack(self) -> tuple[Any, ...]:
        """As nested tuples, lists and dicts that marshal takes."""
        return (
            self.id,
            self.function,
            self.code,
            {name: tuple(binding) for name, binding in self.inputs.items()},
            self.needs,
            None if self.outputs is None else dict(self.outputs),
            tuple(self.options),
            self.environment,
            self.prefix,
            None if self.when is None else tuple(self.when),
            None if self.fan is None else tuple(self.fan),
            *self[_REST:],
        )

    @classmethod
    def unpack(cls, packed: tuple[Any, ...]) -> Step:
        found = cls._make(packed)  # which takes no more and no fewer
        return found._replace(
            inputs={name: Binding(*binding) for name, binding in found.inputs.items()},
            options=Options(*found.options),
            fan=None if found.fan is None else Fan(*found.fan),
            when=None if found.when is None else Binding(*found.when),
        )


_REST: Final = Step._fields.index("parent")  # from here on all is plain


def texts_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text in a JSON tree with where it stands; of an input that takes paths, these are the paths."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from texts_in(entry, (*path, index))
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from texts_in(entry, (*path, key))


def binding_refs(value: Any, refs: list[tuple[Path, Ref]]) -> tuple[Any, tuple[tuple[Path, str, Path], ...]]:
    """A JSON tree with its references taken out: (the tree with null in their places, where they stood)."""
    if not refs:
        return value, ()
    if not refs[0][0]:  # it is a reference as a whole
        return None, tuple((path, ref.step, ref.trail) for path, ref in refs)
    return _without(value, {path for path, _ in refs}, ()), tuple((path, ref.step, ref.trail) for path, ref in refs)


def _without(value: Any, holes: set[Path], path: Path) -> Any:
    if path in holes:
        return None
    if isinstance(value, list):
        return [_without(entry, holes, (*path, index)) for index, entry in enumerate(value)]
    if isinstance(value, dict):
        return {key: _without(entry, holes, (*path, key)) for key, entry in value.items()}
    return value
