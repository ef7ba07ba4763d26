"""The environments of one project: from what its nodes need to a prefix that a worker can run in.

The front of this package. It joins the pure decision (`place`), the lock file, uv and the prefixes, and remembers
within one process what it has found out. Does not know workflows, steps or workers, prints nothing, and touches no
environment but the prefixes under its own root: never the one that wfe runs in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from time import monotonic

from packaging.requirements import Requirement

from wfe.env import lease, listing, prefix, python, resolve
from wfe.env.declared import Declared
from wfe.env.installed import Installed, running
from wfe.env.listing import Entry, Removal
from wfe.env.lock import Clash, Fit, Lock, LockFile, Locks, this_platform
from wfe.env.need import Need, Spec
from wfe.env.place import NO_WHEEL, Isolated, Placement, place
from wfe.env.prefix import Prefix, Progress, Say, counted, silent
from wfe.env.python import Interpreter
from wfe.env.resolve import Unsolved
from wfe.env.uv import Uv
from wfe.errors import EnvironmentFailure, Place, Problem


@dataclass(frozen=True, slots=True)
class Locked:
    """The outcome of `Environments.lock_all`: where each node runs, the lock of each isolated one, and what changed.

    changes: environment (as text) -> lines like "numpy 2.1 -> 2.2"; only for locks that were there before.
    """

    placements: Mapping[str, Placement]
    locks: Mapping[str, Lock]
    changes: Mapping[str, tuple[str, ...]]
    written: bool


class Environments:
    """Thread-safe. `root`: where prefixes lie (`cache/environments`). `lock_file`: the file to commit.

    uv: with its settings; setting `uv.stop` ends what runs, for Ctrl-C. installed: what the
    main environment holds, that of this process by default. say: hears how far preparing an environment is.
    frozen: never resolve; a spec without a lock is an error (for builds that must not change the lock file).
    """

    def __init__(
        self,
        root: Path,
        lock_file: Path,
        *,
        uv: Uv | None = None,
        installed: Installed | None = None,
        say: Say = silent,
        frozen: bool = False,
    ) -> None:
        self.root = root.absolute()
        self.file = LockFile(lock_file)
        self.uv = uv or Uv()
        self._installed = installed
        self._say = say
        self._frozen = frozen
        self._guard = RLock()
        self._locks: Locks | None = None
        self._pythons: list[Interpreter] | None = None
        self._tried: dict[Spec, Lock | Unsolved] = {}
        self._unsolved: dict[Spec, Unsolved] = {}
        self._held_back = False

    def place(self, needs: Iterable[Need], declared: Mapping[str, Declared] | None = None) -> dict[str, Placement]:
        """Where each node runs and why; see `wfe.env.place`. Locks what it has to resolve for that.

        Raises EnvironmentFailure with every problem.
        """
        with self._guard:
            if self._installed is None:
                self._installed = running()
            self._tried = {}
            found = place(needs, self._installed, self._oracle, declared)
            # Written down only now: it is known that the parts of each union are good by themselves, so that what
            # failed was the union, and which of the specs that were tried are environments.
            used = {one.spec for one in found.values() if isinstance(one, Isolated)}
            news: list[Lock | Clash | Fit] = []
            for spec, tried in self._tried.items():
                if isinstance(tried, Unsolved):
                    if tried.lasting and not tried.no_wheel:
                        news.append(Clash(spec, this_platform(), tried.why))
                else:
                    news.append(tried if spec in used else Fit(spec, this_platform()))
            self._change(news)
            return found

    def lock(self, spec: Spec, place: Place | None = None) -> Lock:
        """The lock of a spec: the one in the lock file, or else resolved now and written there. Its `digest` belongs in
        the action key of every step that runs there. Raises EnvironmentFailure with uv's words when there is none."""
        with self._guard:
            known = self._known(spec)
            if known:
                return known
            found = self._resolve(spec, place)
            if isinstance(found, Lock):
                self._change([found])
                return found
            raise EnvironmentFailure(
                Problem(f"cannot resolve {spec}: {found.why}", place or Place(), resolve.remedy(found.why))
            )

    def lock_all(
        self,
        needs: Iterable[Need],
        declared: Mapping[str, Declared] | None = None,
        *,
        upgrade: bool = False,
        prune: bool = False,
    ) -> Locked:
        """Lock all that these nodes need. upgrade: resolve anew even what is locked. prune: forget all other specs.

        The old lock file stays as it was when anything fails.
        """
        found = self.lock_each([(needs, declared)], upgrade=upgrade, prune=prune)[0]
        if isinstance(found, EnvironmentFailure):
            raise found
        return found

    def lock_each(
        self,
        asked: Iterable[tuple[Iterable[Need], Mapping[str, Declared] | None]],
        *,
        upgrade: bool = False,
        prune: bool = False,
    ) -> list[Locked | EnvironmentFailure]:
        """`lock_all` for several workflows, each by itself: one that fails takes nothing from the others.

        Which nodes of a workflow share an environment depends on all of them, so that of one that fails nothing is written:
        what the file holds for it stays.
        """
        with self._guard:
            before = self._read()
            self._held_back = True
            if upgrade:
                self._locks = before.without(this_platform())
                self._unsolved = {}
            found: list[Locked | EnvironmentFailure] = []
            try:
                for needs, declared in asked:
                    good = self._read()
                    try:
                        found.append(self._lock(needs, declared, before))
                    except EnvironmentFailure as error:
                        self._locks = good
                        found.append(error)
                after = self._read()
            except BaseException:
                self._locks = None
                raise
            finally:
                self._held_back = False
            if any(isinstance(one, EnvironmentFailure) for one in found):
                after = after.merged(before)
            elif prune:
                after = after.only(lock.spec for one in found if isinstance(one, Locked) for lock in one.locks.values())
            self._locks = after
            written = after.text() != before.text()
            if written:
                with self._file_held():
                    self.file.write(after)
            return [replace(one, written=written) if isinstance(one, Locked) else one for one in found]

    def _lock(self, needs: Iterable[Need], declared: Mapping[str, Declared] | None, before: Locks) -> Locked:
        placements = self.place(needs, declared)
        locks = {node: self.lock(one.spec) for node, one in placements.items() if isinstance(one, Isolated)}
        changes = {}
        for lock in locks.values():
            old = next((one for one in before.of(lock.spec, lock.platform) if one.python == lock.python), None)
            if old is not None and old.digest != lock.digest:
                changes[str(lock.spec)] = tuple(resolve.newer(old, lock))
        return Locked(placements, locks, changes, False)

    def prefix(self, lock: Lock, *, missing: Iterable[str] = (), place: Place | None = None) -> Prefix:
        """The environment of a lock on disk, made now if it is not there. missing: named in the progress message."""
        found = prefix.look(self.root, lock.digest)
        if found:
            return found
        why = prefix.damage(self.root, lock.digest)
        if why:
            self._say(Progress("make", f"Environment {lock.digest[:12]} is damaged, and made anew: {why}"))
        self._say(Progress("install", self._plan_of(lock.spec, tuple(missing))))
        return prefix.make(
            self.root, lock, self._python(lock.spec, place, lock.python), self.uv, say=self._say, place=place
        )

    def _plan_of(self, spec: Spec, missing: tuple[str, ...]) -> str:
        """What is going to be installed, in one line."""
        asked = [Requirement(text) for text in spec.requirements]
        if not asked:
            return f"Making an environment of Python {spec.python}".rstrip()
        if not missing:
            with self._guard:
                here = self._installed = self._installed or running()
            missing = tuple(_bare(one) for one in asked if here.unmet(one))
        word = "missing " if missing else ""  # none is missing where isolation_mode is "always"
        names = missing or tuple(map(_bare, asked))
        return f"Installing {counted(len(names), word + 'dependency', word + 'dependencies')}: {', '.join(names)}"

    @contextmanager
    def using(self, lock: Lock, *, missing: Iterable[str] = (), place: Place | None = None) -> Iterator[Prefix]:
        """The environment of a lock, made if need be, which no `collect` removes while the context is open."""
        missing = tuple(missing)
        while True:
            made = self.prefix(lock, missing=missing, place=place)
            with lease.holding(self.root, lock.digest):
                # It may have been removed between these two lines; then it is made again.
                if prefix.look(self.root, lock.digest):
                    mine = lease.take(self.root, lock.digest)
                    break
        try:
            yield made
        finally:
            lease.give(mine)

    def sync(self, needs: Iterable[Need], declared: Mapping[str, Declared] | None = None) -> dict[str, Prefix]:
        """Make every environment that these nodes need, so that a later run installs nothing: node -> prefix. Looks at each
        file of those that are there, and makes the damaged ones anew.

        Raises EnvironmentFailure with all that could not be made, after all others were.
        """
        placements = self.place(needs, declared)
        locks = {node: self.lock(one.spec) for node, one in placements.items() if isinstance(one, Isolated)}
        made: dict[str, Prefix] = {}
        problems: list[Problem] = []
        for lock in {one.digest: one for one in locks.values()}.values():
            self.suspect(lock.digest)
            try:
                made[lock.digest] = self.prefix(lock)
            except EnvironmentFailure as error:
                nodes = ", ".join(node for node, one in locks.items() if one.digest == lock.digest)
                problems += [
                    replace(one, message=f"the environment of {nodes}: {one.message}") for one in error.problems
                ]
        if problems:
            raise EnvironmentFailure(problems)
        return {node: made[lock.digest] for node, lock in locks.items()}

    def suspect(self, digest: str) -> str:
        """Look at each file of an environment, and start its Python; the next use makes a damaged one anew. Returns what is
        wrong, or ""."""
        why = prefix.damage(self.root, digest, thorough=True)
        made = prefix.look(self.root, digest)
        if made and not why and not prefix.starts(made, self.uv.stop):
            why = "its Python does not start"
        if why:
            prefix.condemn(self.root, digest, why)
        return why

    def entries(self, placements: Mapping[str, Placement] | None = None) -> list[Entry]:
        """Every environment on disk, with the nodes of `placements` that it is for."""
        nodes: dict[str, dict[str, str]] = {}
        for node, one in (placements or {}).items():
            if isinstance(one, Isolated):
                for lock in self._read().of(one.spec, this_platform()):
                    nodes.setdefault(lock.digest, {})[node] = one.reason
        return listing.entries(self.root, nodes)

    def remove(self, digest: str) -> Removal:
        """Remove one environment; see `wfe.env.listing.remove`."""
        try:
            return listing.remove(self.root, digest)
        except OSError as error:
            raise prefix.disk(error, f"cannot remove from {self.root}") from error

    def collect(
        self,
        *,
        unused_for: float | None = None,
        at_most: int | None = None,
        keep: Iterable[str] = (),
        dry_run: bool = False,
    ) -> list[Removal]:
        """Remove environments that are no longer used; see `wfe.env.listing.collect`."""
        try:
            return listing.collect(self.root, unused_for=unused_for, at_most=at_most, keep=keep, dry_run=dry_run)
        except OSError as error:
            raise prefix.disk(error, f"cannot remove from {self.root}") from error

    def _read(self) -> Locks:
        with self._guard:
            if self._locks is None:
                self._locks = self.file.read()
            return self._locks

    def _oracle(self, spec: Spec) -> str:
        here = this_platform()
        known = self._read().clash(spec, here)
        if known or self._read().fit(spec, here):
            return _with_hint(known, resolve.remedy(known))
        try:
            self._python(spec, None)
        except EnvironmentFailure as error:
            # An answer about these nodes, whom the caller can name; another machine may have that Python.
            about = error.problems[0]
            self._tried[spec] = Unsolved(about.message, lasting=False)
            return _with_hint(about.message, about.hint)
        found = self._tried[spec] = self._resolve(spec, None)
        if isinstance(found, Lock):
            return ""
        return f"{NO_WHEEL}{found.why}" if found.no_wheel else _with_hint(found.why, resolve.remedy(found.why))

    def _resolve(self, spec: Spec, place: Place | None) -> Lock | Unsolved:
        if spec in self._unsolved:
            return self._unsolved[spec]
        if self._frozen:
            fact = f"{spec} has no lock for {this_platform()}, and the lock file must not change"
            raise EnvironmentFailure(Problem(fact, place or Place(str(self.file.path)), "run `wfe env lock`"))
        started = monotonic()
        self._say(Progress("resolve", f"Resolving {spec}"))
        try:
            found = resolve.resolve(self.uv, spec, self._python(spec, place), place)
        except OSError as error:
            raise prefix.disk(
                error, f"cannot resolve {spec}, with temporary files at {error.filename}", place
            ) from error
        if isinstance(found, Unsolved):
            self._unsolved[spec] = found
        seconds = round(monotonic() - started, 4)
        self._say(Progress("resolve", f"resolve: {seconds:.2f} s", seconds, detail=True))
        return found

    def _known(self, spec: Spec) -> Lock | None:
        locks = self._read().of(spec, this_platform())
        mine = next((lock for lock in locks if lock.python == python.own().minor), None)
        if mine is not None:
            return mine
        if not locks:
            return None
        here = {one.minor for one in self._found()}
        return next((lock for lock in locks if lock.python in here), None)

    def _change(self, news: Iterable[Lock | Clash | Fit]) -> None:
        """Add to the lock file, over what another process may have added meanwhile."""
        added = tuple(news)
        if not added:
            return
        if self._held_back:
            self._locks = self._read().plus(*added)
            return
        with self._file_held():
            self._locks = self._read().merged(self.file.read()).plus(*added)
            self.file.write(self._locks)

    @contextmanager
    def _file_held(self) -> Iterator[None]:
        """Write the lock file while no other process does."""
        try:
            with lease.holding(self.root, "lock-file", self.uv.stop):
                yield
        except OSError as error:
            raise prefix.disk(error, f"cannot write under {self.root}") from error

    def _found(self) -> list[Interpreter]:
        with self._guard:
            if self._pythons is None:
                self._pythons = python.found(self.uv)
            return self._pythons

    def _python(self, spec: Spec, place: Place | None, minor: str = "") -> Interpreter:
        mine = python.own()
        if (not minor or minor == mine.minor) and python.choose(spec.python, [mine]):
            return mine  # spares looking for others, which takes a tenth of a second and more
        known = self._found()
        exact = [one for one in known if one.minor == minor] if minor else known
        chosen = python.choose(spec.python, exact)
        if chosen is None and self.uv.downloads:
            asked = minor or spec.python
            ran = self.uv.run(["python", "install", asked])
            if ran.status != 0:
                raise self.uv.failure(ran, f"cannot download Python {asked}", place)
            self._pythons = None
            chosen = python.choose(spec.python, [one for one in self._found() if not minor or one.minor == minor])
        if chosen is None:
            raise python.missing(f"=={minor}.*" if minor else spec.python, known, place)
        return chosen


def _with_hint(fact: str, hint: str) -> str:
    return f"{fact}; {hint}" if fact and hint else fact


def _bare(one: Requirement) -> str:
    """A requirement without its marker."""
    extras = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
    return f"{one.name}{extras}{one.specifier}"
