"""The cache directory and the files of a project as one thing: results are published into it and checked in it.

Knows where results, targets, logs and staging directories lie, and writes rows. Does not run anything and does not decide.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import os
import platform
import shutil
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from wfe.core.digest import canonical, digest
from wfe.core.result import Artifact, Result
from wfe.core.result import put as put_in
from wfe.engine.ground import in_the_way
from wfe.engine.inputs import Inputs
from wfe.engine.project import Project
from wfe.errors import EnvironmentFailure
from wfe.store.blobs import Blobs
from wfe.store.claims import Claims
from wfe.store.files import Files
from wfe.store.hashing import file_digest
from wfe.store.journal import HOMEWARD, Folder, Journal
from wfe.store.stamp import Stamp, holds, stamp, stamp_of
from wfe.store.state import ROOM, State, is_full
from wfe.store.traces import File, Row, Trace, Traces
from wfe.wire.small_file import put

REMOVED = "the cache, or a part of it, was removed while the run went on: run again"


class Workspace:
    """A project's results. Thread-safe; several processes may have the same one open.

    On a cache that cannot be written to, what is there is used, and what is made stands in a temporary directory until
    `close`.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.state = State(project.cache / "state.db")
        self._cache = project.cache
        if self.state.read_only:
            import tempfile

            # Of its own accord gone at the end of a process that never closes this (`doit list`).
            self._scratch = tempfile.TemporaryDirectory(prefix="wfe-", ignore_cleanup_errors=True)
            self._cache = Path(self._scratch.name)
        self.blobs = Blobs(self._cache / "blobs", beneath=project.cache / "blobs" if self.state.read_only else None)
        self.files = Files(self.state, project.root)
        self.traces = Traces(self.state, self.blobs)
        self._claims: Claims | None = None
        self._journals = Folder(project.cache / "journal")
        # Where a worker leaves, when its engine was killed, what it had not given back: as a call says it.
        self.heir = json.dumps(str(self._journals.path))
        self.bring_home()
        self._base = f"{project.root}{os.sep}"
        self._results = self._shown(f"{self._cache}{os.sep}steps{os.sep}").replace(os.sep, "/")
        self._staging = self._cache / "staging" / f"{os.getpid()}-{_here()}-{time.time_ns():x}"
        self._idle: list[tuple[str, bool]] = []  # free staging directories, and whether something may be there
        self._number = itertools.count()
        self._came: int | None = None  # how many runs had come with this one, where it was alone then
        self._made: set[str] = set()  # directories that are there
        self.logs: set[str] = set()  # the logs that there are, as far as this process knows

    @property
    def claims(self) -> Claims | None:
        """Who makes what; None for a cache that cannot be written to, where nothing is shared."""
        if self._claims is None and not self.state.read_only:
            self._claims = Claims(self.project.cache / "claims.lock")
        return self._claims

    def bring_home(self) -> None:
        """Take in what runs had done that were killed before it stood in the database. Where there is no room for it, it stays
        where it is, for whoever only looks, or deletes something."""
        if not self.state.read_only and self._journals.any_left(self.state.journal):
            with contextlib.suppress(EnvironmentFailure, OSError):
                assert self.claims is not None
                with self.claims.turn(HOMEWARD):  # what another is just bringing home is not in the database yet
                    for journal in Journal.left(self._journals.path, self.claims):
                        self.state.bring_home(journal, self.traces.fits)
                    from wfe.engine.left import take_in  # hardly ever needed

                    take_in(self._journals.path, self.traces)

    def made(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that have a trace by now, sound or not. Of keys whose claims are held: a run that was killed held
        them as long as what it made was in its journal alone."""
        if self._came is not None and self.claims is not None and self.claims.arrived() != self._came:
            self._came = None
        if self._came is None:
            self.bring_home()
        return self.traces.made(keys, self._came is not None)

    def gather(self) -> None:
        """Let what is recorded from now on stand in a journal until there is time to write it into the database, and others know
        that results are made here. Where the database has no room, the steps tell it. Idempotent."""
        if self.claims is not None and not self.state.journal:
            with contextlib.suppress(EnvironmentFailure, OSError), self.claims.turn(HOMEWARD):
                mine = Journal.mine(self._journals.path, self.claims)
                self.state.gather(mine, self.traces.fits)
                came = self.claims.arrive()
                self._came = None if Journal.others(self._journals.path, self.claims, mine) else came

    def reap(self) -> None:
        """Remove what runs left in staging that were killed: their process is gone. Safe beside running ones."""
        try:
            left = list(os.scandir(self._staging.parent))
        except OSError:
            return
        for entry in left:
            number, _, rest = entry.name.partition("-")
            if (
                number.isdigit()
                and rest.startswith(f"{_here()}-")
                and int(number) != os.getpid()
                and not _alive(int(number))
            ):
                shutil.rmtree(entry.path, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
        if self.state.read_only:
            self._scratch.cleanup()
        self.state.close()

    # --- places

    def result_file(self, workflow: str, step: str) -> str:
        """Where the result of a step stands for people and for doit, relative to the root where the cache is under it."""
        return f"{self._results}{workflow}/{step}.json"

    def result_place(self, workflow: str, step: str) -> str:
        """The same as an absolute path, in a directory that exists."""
        folder = f"{self._cache}{os.sep}steps{os.sep}{workflow}"
        return f"{self._folder(folder)}{os.sep}{step}.json"

    def log_file(self, workflow: str, step: str) -> str:
        folder = f"{self._cache}{os.sep}logs{os.sep}{workflow}"
        if folder not in self._made:
            os.makedirs(folder, exist_ok=True)
            self.logs.update(entry.path for entry in os.scandir(folder))
            self._made.add(folder)  # only now: another thread relies on what is in `logs`
        return f"{folder}{os.sep}{step}.log"

    def drop_log(self, path: str) -> None:
        """Remove what an earlier run of the step printed. (Few steps print anything, and to look for a file that is not there
        takes 10 us.)"""
        if path in self.logs:
            self.logs.discard(path)
            with contextlib.suppress(OSError):  # what is left is told with what the step prints now
                os.unlink(path)

    def absolute(self, path: str) -> str:
        return self.files.absolute(path)

    def _shown(self, path: str) -> str:
        """A path relative to the root where it lies under it: a project may be moved. Strings, since pathlib was 8% of a
        run of trivial steps."""
        return path[len(self._base) :] if path.startswith(self._base) else path

    def _folder(self, path: str) -> str:
        if path not in self._made:
            os.makedirs(path, exist_ok=True)
            self._made.add(path)
        return path

    def take_staging(self) -> str:
        """An empty directory, the caller's until `give_staging`."""
        try:
            place, soiled = self._idle.pop()
        except IndexError:
            place, soiled = str(self._staging / str(next(self._number))), False
            os.makedirs(place)
        if soiled:
            try:
                left = os.scandir(place)
            except FileNotFoundError:  # somebody has removed the cache meanwhile
                os.makedirs(place, exist_ok=True)
                return place
            for entry in left:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
        return place

    def give_staging(self, place: str, soiled: bool) -> None:
        """soiled: whether something may have been left there."""
        self._idle.append((place, soiled))

    def advice(self, error: OSError) -> str:
        """What to do about a full disk, or a cache that somebody removed, to follow the words of an error; "" for another one."""
        if is_full(error):
            return f"; {ROOM}"
        gone = isinstance(error, FileNotFoundError) and f"{error.filename or ''}".startswith(f"{self._cache}{os.sep}")
        return f"; {REMOVED}" if gone else ""

    # --- checking

    def intact(self, row: Row) -> tuple[Row, bool]:
        """Whether every file that a step made is unharmed. Stamps that proved nothing are renewed in the returned row."""
        files = []
        for one in row.files:
            if one.role == "in" or holds(one.stamp, self.absolute(one.path)):
                files.append(one)
                continue
            taken = self.renew(one)
            if taken is None:
                return row, False
            files.append(one._replace(stamp=taken.plain()))
        return row._replace(files=tuple(files)), True

    def renew(self, one: File) -> Stamp | None:
        """A new stamp of a file whose old one proves nothing, None when its content is another (or it is gone)."""
        where = self.absolute(one.path)
        try:
            taken = stamp(where)
            return taken if file_digest(where) == one.digest else None
        except OSError:
            return None

    # --- publishing

    def adopt(self, path: str, codec: str, trail: tuple[str | int, ...], note: str) -> tuple[Artifact, File]:
        """Make a staged file an artifact: its blob moves into the store. Raises OSError for what is no file."""
        _alone(path)
        content = file_digest(path)
        where = self.blobs.adopt(path, content)
        taken = stamp(where)
        self.state.set("file", content, taken.plain(), "blob")
        return Artifact(trail, codec, content, note), File(self._shown(where), "blob", taken.plain(), content)

    def publish(
        self,
        workflow: str,
        step: str,
        static: str,
        key: str,
        trace: Trace,
        inputs: Inputs,
        ups: tuple[str, ...],
        fresh: bool,
        written: File | None = None,
    ) -> Row:
        """Put a result's files in place and record the step, in one commit. `fresh`: the trace is new. written: the result's
        own file, where it was written already.

        A kill before the commit leaves files that the old row does not vouch for, so the next run sees and mends them.
        Raises EnvironmentFailure when a file cannot be written.
        """
        files = [File(path, "in", taken.plain(), content) for path, (taken, content) in inputs.files.items()]
        try:
            for one in trace.artifacts:
                blob = self.blobs.path(one.digest)
                files.append(File(self._shown(blob), "blob", stamp(blob).plain(), one.digest))
                if one.codec == "file" and one.note in inputs.outputs:
                    files.append(self._target(inputs.outputs[one.note], one.digest))
            if trace.big:
                blob = self.blobs.path(trace.big)
                files.append(File(self._shown(blob), "blob", stamp(blob).plain(), trace.big))
            files.append(written or self._write_result(workflow, step, trace))
        except OSError as error:
            raise EnvironmentFailure(
                f"its result cannot be written: {error.strerror or error}: {error.filename or self.project.cache}; "
                f"nothing was recorded{self.advice(error)}"
            ) from error
        row = Row(static, key, trace.mark, ups, tuple(files), trace.seconds, time.time())
        self.traces.save(workflow, step, row, trace if fresh else None)
        return row

    def _target(self, path: str, content: str) -> File:
        where = self.absolute(path)
        barred = in_the_way(where)
        if barred:
            raise OSError(errno.EINVAL, f"what stands there is {barred}", where)
        with contextlib.suppress(OSError):  # not there, or not readable: it is put there now
            told = os.stat(where)
            if stat.S_ISREG(told.st_mode) and file_digest(where, told) == content:
                return File(path, "out", stamp_of(told).plain(), content)
        return File(path, "out", self.blobs.put(content, where).plain(), content)

    def put_back(self, path: str, taken: Stamp, content: str) -> Stamp:
        """Make sure that a file that a step published, when it had this stamp, has that content still; its stamp now. Raises
        OSError."""
        return self.files.same(path, taken, content) or self.blobs.put(content, self.absolute(path))

    def _write_result(self, workflow: str, step: str, trace: Trace) -> File:
        name = self.result_file(workflow, step)
        where = self.absolute(name)
        data = canonical(_readable(trace)).encode("utf-8", "surrogatepass") + b"\n"
        folder = os.path.dirname(where)
        self._folder(folder)
        try:
            taken = put(data, where)
        except FileNotFoundError:
            self._made.discard(folder)  # somebody removed the directory in the middle of the run
            self._folder(folder)
            taken = put(data, where)
        return File(name, "out", stamp_of(taken).plain(), digest(data))

    def forget(self, workflow: str, step: str) -> None:
        """Make the next run execute the step: neither its row nor the trace of its key stays."""
        self.traces.forget(workflow, step)

    def clean(self, workflow: str, step: str) -> list[str]:
        """Delete a step's files from the workspace (the store keeps its result). Returns the paths that were deleted. Raises
        EnvironmentFailure for one that cannot be."""
        found = self.state.get("step", step, workflow)
        gone = []
        if found is not None:
            for one in self.traces.row(found).files:
                if one.role == "out":
                    try:
                        os.unlink(self.absolute(one.path))
                    except (FileNotFoundError, NotADirectoryError):
                        continue
                    except OSError as error:
                        raise EnvironmentFailure(f"{one.path} cannot be removed: {error.strerror}") from error
                    gone.append(one.path)
        return gone


@functools.cache
def _here() -> str:
    """Where a process number means something: this host, and in it this container."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return digest(f"{platform.node()} {space}".encode())[:8]


def _alive(number: int) -> bool:
    if os.name == "nt":
        import psutil

        return bool(psutil.pid_exists(number))
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # of another user
    return True


def _alone(path: str) -> None:
    """Make sure that nobody else's file would become the blob: of a link, or of a second name of a file, a copy does.

    Its content would change with the other's, and the other's rights with the blob's. Raises OSError for what is neither
    (a pipe would be waited on for ever).
    """
    told = os.stat(path)
    if not stat.S_ISREG(told.st_mode):
        raise OSError(errno.EINVAL, "it is no file", path)
    if told.st_nlink > 1 or os.path.islink(path):
        part = f"{path}.part"
        shutil.copyfile(path, part)
        os.replace(part, path)


def _readable(trace: Trace) -> object:
    """The value for people: each artifact in its place, told by codec, digest and note."""
    if trace.big:
        return {"blob": trace.big, "codec": "json"}
    tree = trace.value
    for one in trace.artifacts:
        tree = put_in(tree, one.trail, {"artifact": one.codec, "digest": one.digest, "note": one.note})
    return tree


def result_of(workspace: Workspace, trace: Trace, step: str) -> Result:
    """The result of a trace as other steps see it: a written file is told by the step that wrote it."""
    result = workspace.traces.result(trace)
    if any(one.codec == "file" for one in result.artifacts):
        named = tuple(
            one._replace(note=f"{step}:{one.note}") if one.codec == "file" else one for one in result.artifacts
        )
        return Result(result.value, named)
    return result
