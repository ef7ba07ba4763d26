"""What is to be generated, as task dictionaries: `generate:WORKFLOW:NODE`, and `generate:WORKFLOW` for all of one.

The dictionaries are doit's, plain data with two callables; doit itself is not known here. A task is up to date when
its file answers the request, which nobody needs the model for.
"""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wfe.agent.events import Tell
from wfe.agent.model import DEFAULT_MODEL, Message, Model
from wfe.catalog import Catalogue
from wfe.core.parse import parse
from wfe.engine.project import Project
from wfe.errors import ExitCode, Problem, WfeError, nearest

SETTINGS = ("model", "seed", "pull", "unsafe", "yes")
if TYPE_CHECKING:
    from wfe.agent.author import Desk
    from wfe.agent.flow import Generation
    from wfe.agent.spec import NodeSpec, Permissions

_NO = ("", "0", "no", "false", "off")


class Queued:
    """A model that is made, and looked for, at the first question, and answers one question at a time (the pool `llm`).

    While one node's draft is tried, the next node's question is answered.
    """

    def __init__(self, make: Callable[[], Model], name: str, seed: int, pull: bool) -> None:
        self.name = name
        self.seed = seed
        self._make = make
        self._pull = pull
        self._model: Model | None = None
        self._lock = threading.Lock()

    def prepare(self, tell: Tell, pull: bool = False) -> None:
        """As in Model."""
        with self._lock:
            self._ready(tell, pull)

    def digest(self) -> str:
        """As in Model."""
        with self._lock:
            return self._ready(lambda event: None, False).digest()

    def ask(self, subject: str, messages: Sequence[Message], schema: Mapping[str, Any], tell: Tell) -> str:
        """As in Model."""
        with self._lock:
            return self._ready(tell, self._pull).ask(subject, messages, schema, tell)

    def _ready(self, tell: Tell, pull: bool) -> Model:
        if self._model is None:
            model = self._make()
            model.prepare(tell, pull or self._pull)
            self._model = model
        return self._model


def tasks(project: Project, settings: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The task dictionaries of all workflows of a project, nothing but names and files read for them.

    settings: `model`, `seed`, `pull`, `unsafe`, `yes`, as given on a command line. A workflow that cannot be read has
    none: running it says why. Raises WfeError for a wrong setting.
    """
    desk = _desk(project, settings or {})
    made: list[dict[str, Any]] = []
    catalogue = Catalogue(project.root)
    for name in project.names():
        try:
            if not _concerned(project, name, catalogue):
                continue
            from wfe.agent.flow import generations  # with its gates half a second, which `doit list` mostly saves

            found = generations(project.find(name), desk, project.root, catalogue)
        except WfeError:
            continue
        if found:
            names = [one.name for one in found]
            doc = f"write the nodes of {name} ({sum(not one.current() for one in found)} to be written)"
            made.append({"name": f"generate:{name}", "actions": None, "task_dep": names, "doc": doc})
        made += [_task(one) for one in found]
    return made


def _concerned(project: Project, name: str, catalogue: Catalogue) -> bool:
    """Whether a workflow has an outline or lacks a node. Raises WfeError for one that cannot be read."""
    if (project.root / ".wfe" / "outlines" / f"{name}.json").is_file():
        return True
    path = project.find(name)
    workflow = parse(path.read_bytes(), project.shown(path), name)
    functions = dict.fromkeys(node.function for node in workflow.nodes if node.function)
    return any(catalogue.find(function) is None for function in functions)


def _task(one: Generation) -> dict[str, Any]:
    def act() -> bool:
        try:
            written = one.act()
        except WfeError as error:
            sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
            return False
        return written.state.value != "rejected"

    return {
        "name": one.name,
        "actions": [(act,)],
        "uptodate": [one.current],
        "doc": f"{one.target}: {one.spec.purpose}",
        "io": {"capture": False},  # doit's capture swaps sys.stdout for the whole process
    }


def offer(project: Project, workflow: str) -> str:
    """A line that offers to write what a workflow lacks; empty when it lacks nothing that can be written."""
    from wfe.agent.flow import generations

    try:
        path = project.find(workflow)
        found = [one for one in generations(path, _desk(project, {}), project.root) if not one.current()]
    except WfeError:
        return ""
    if not found:
        return ""
    names = ", ".join(one.spec.name for one in found)
    return f"missing nodes: {names}; a language model can write them: `doit run {shlex.quote(f'generate:{path.stem}')}`"


def offered(error: WfeError, project: Project, workflow: str) -> WfeError:
    """What keeps a workflow from being run, and the same offer."""
    missing = offer(project, workflow)
    return WfeError([*error.problems, Problem(missing)], code=error.code) if missing else error


def _desk(project: Project, settings: Mapping[str, str]) -> Callable[[], Desk]:
    if unknown := next((name for name in settings if name not in SETTINGS), ""):
        hint = nearest(unknown, SETTINGS)
        raise WfeError(f"{unknown}=...: generating takes {', '.join(SETTINGS)}", hint, ExitCode.USAGE)
    seed = settings.get("seed", "0")
    if not seed.lstrip("-").isdigit():
        raise WfeError(f"seed={seed!r} is no whole number", "seed=1", ExitCode.USAGE)
    held: list[Desk] = []
    lock = threading.Lock()

    def desk() -> Desk:
        with lock:
            if not held:
                held.append(_open(project, settings, int(seed)))
            return held[0]

    return desk


def _open(project: Project, settings: Mapping[str, str], seed: int) -> Desk:
    from wfe.agent import prompt
    from wfe.agent.author import Desk
    from wfe.agent.gate import Site
    from wfe.agent.spec import Permissions
    from wfe.agent.telling import Teller
    from wfe.agent.tries import Bench

    name = settings.get("model", DEFAULT_MODEL)
    cache = project.cache / "agent"
    grants = _said(settings, "yes")

    def make() -> Model:
        from wfe.agent.ollama_model import OllamaModel

        return OllamaModel(name, seed)

    def grant(spec: NodeSpec, wanted: Permissions) -> Permissions:
        if not grants:
            sys.stderr.write(f"  {spec.name} asks for {wanted}: not granted (yes=1 grants it, in the sandbox)\n")
        return wanted if grants else Permissions()

    return Desk(
        Queued(make, name, seed, _said(settings, "pull")),
        prompt.load(project.root),
        Site(project.root, cache),
        Bench(project.root, cache, _LazySandbox() if not _said(settings, "unsafe") else None),
        Teller(sys.stderr, project.root, live=False),
        grant,
    )


class _LazySandbox:
    """The best sandbox, looked for when the first draft is tried: `doit list` needs none."""

    @property
    def name(self) -> str:
        from wfe.agent.sandbox import choose

        return choose().name

    @property
    def holds_hosts(self) -> bool:
        from wfe.agent.sandbox import choose

        return choose().holds_hosts

    def missing(self) -> str:
        """As in Sandbox."""
        from wfe.agent.sandbox import choose

        return choose().missing()

    def command(self, argv: Sequence[str], policy: Any) -> list[str]:
        """As in Sandbox. Raises EnvironmentFailure where there is none."""
        from wfe.agent.sandbox import choose

        return choose().command(argv, policy)


def _said(settings: Mapping[str, str], name: str) -> bool:
    return settings.get(name, "").lower() not in _NO
