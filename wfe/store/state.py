"""The state database: SQLite with WAL, every row with a checksum of its own; while a run performs steps, behind a journal.

Knows four tables of checked rows (traces, steps, files, memos). Does not know what a trace means. SQLite guards its own
structure but not the bits of a payload, so a row whose checksum is wrong is as good as absent: the worst that damage can
cause is a rebuild. A file that SQLite cannot read is put aside and a new one begun.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from wfe.core.digest import checksum
from wfe.errors import EnvironmentFailure
from wfe.store.journal import MARSHAL, Journal

Fits = Callable[[str, tuple[str, str, Any]], bool]

FORMAT: Final = 1  # rows of another format are absent
_PATIENCE: Final = 60.0  # seconds to wait for others that hold the database
ROOM: Final = "free some space (`wfe collect` removes old results)"
# Rows that may wait in the journal: the commit of so many takes some 3 ms. Not more: the claims of their keys are held until
# then, and the kernel walks through all that a process holds to find one.
_AT_ONCE: Final = 256
_LONGEST: Final = 0.05  # seconds for which rows wait for others

# SQLite's words about a damaged schema may quote it, and what is quoted need not be UTF-8 any more.
_TOLD: Final = (sqlite3.DatabaseError, UnicodeDecodeError)

TABLES: Final = ("trace", "step", "file", "memo")
# Rowid tables, so that rows go to the end of the file; without rowids, each 1 KB result took a page of its own at a
# random place, 7 pages written a step instead of 4.
_SCHEMA: Final = "\n".join(
    f"CREATE TABLE IF NOT EXISTS {name}(scope TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, UNIQUE(scope, name));"
    for name in TABLES
)
_GET: Final = {name: f"SELECT body FROM {name} WHERE scope=? AND name=?" for name in TABLES}
_SET: Final = {
    name: f"INSERT INTO {name}(scope, name, body) VALUES(?,?,?) "
    "ON CONFLICT(scope, name) DO UPDATE SET body=excluded.body"
    for name in TABLES
}


def pack(scope: str, name: str, value: Any) -> bytes:
    """A row's body: 8 bytes checksum over its address and content, then the content as marshal writes it."""
    content = marshal.dumps(value, MARSHAL)
    return checksum(f"{FORMAT}\0{scope}\0{name}\0".encode() + content).to_bytes(8, "little") + content


def unpack(scope: str, name: str, body: Any) -> Any:
    """The content of a row, None for one that is damaged."""
    if not isinstance(body, bytes) or len(body) < 9:
        return None
    content = body[8:]
    if checksum(f"{FORMAT}\0{scope}\0{name}\0".encode() + content) != int.from_bytes(body[:8], "little"):
        return None
    try:
        return marshal.loads(content)
    except (ValueError, EOFError, TypeError):
        return None


class State:
    """The database at `path`. Safe to use from several threads and several processes.

    A cache directory that cannot be written to gives an in-memory database with a copy of what can be read: results are
    then found but not kept (`read_only`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_only = False
        self.note = ""
        self.renewed = 0  # how often a new one was begun: each time, what an open transaction had written was lost
        self._mended = False
        self._lock = threading.RLock()
        self._depth = 0
        self._journal: Journal | None = None
        self._late: dict[tuple[str, str, str], bytes] = {}  # (table, scope, name) -> body: what stands in the journal
        self._since = 0.0  # when the first of them was put there, monotonic seconds
        self._then: dict[Callable[..., object], list[Any]] = {}
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                return self._connect(str(self.path))
            except (*_TOLD, OSError) as error:
                # Two that make the same new database WAL at once: SQLite says "locked" to one of them without waiting.
                if _is_crowd(error) and time.monotonic() < end:
                    time.sleep(0.01)
                    continue
                if _is_crowd(error):
                    raise EnvironmentFailure(
                        f"the state database {self.path} cannot be used: {error}", _hint(error)
                    ) from error
                if _is_damage(error) or self._denied(error):
                    return self._anew(error)
                return self._read_only(error)

    def _denied(self, error: Exception) -> bool:
        """Whether the header calls a file read-only that is not: a flipped bit can."""
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY and all(
            os.access(path, os.W_OK) for path in (self.path, self.path.parent)
        )

    def _connect(self, where: str, uri: bool = False) -> sqlite3.Connection:
        db = sqlite3.connect(
            where, uri=uri, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            if not uri:
                # Of a new one. Of a trivial step's rows only two fit into a page of 4 KiB, and a commit takes a third longer.
                db.execute("PRAGMA page_size=8192")
                mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                if mode != "wal" and where != ":memory:":
                    raise EnvironmentFailure(
                        f"the file system of {self.path.parent} cannot lock files as SQLite needs it (journal mode {mode!r})",
                        "set WFE_CACHE to a directory on a local disk",
                    )
                db.execute("PRAGMA synchronous=NORMAL")
                # A checkpoint syncs the disk: 80 ms each on a busy one, every 500 steps at the default of 1,000 pages.
                db.execute("PRAGMA wal_autocheckpoint=4000")
                db.execute("PRAGMA cell_size_check=ON")
                db.execute("PRAGMA cache_size=-16000")
                db.executescript(_SCHEMA)
            else:
                db.execute("SELECT count(*) FROM trace").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def _anew(self, error: Exception) -> sqlite3.Connection:
        self.renewed += 1
        if self.read_only:
            return self._connect(":memory:")  # what was copied is damaged, and nothing can be put aside
        aside = self.path.with_name(f"{self.path.name}.damaged")
        for suffix in ("", "-wal", "-shm"):
            file = Path(f"{self.path}{suffix}")
            with contextlib.suppress(FileNotFoundError):
                os.replace(file, f"{aside}{suffix}")
        self.note = (
            f"the state database was damaged ({error}); it was put aside as {aside.name}, and results are made again"
        )
        return self._connect(str(self.path))

    def _read_only(self, error: Exception) -> sqlite3.Connection:
        self.read_only = True
        why = getattr(error, "strerror", None) or error
        self.note = f"{self.path.parent} cannot be written to ({why}); results are not kept"
        memory = self._connect(":memory:")
        if self.path.exists():
            # immutable=1 needs neither lock nor -shm file; a -wal that was not checkpointed is not seen, which can only
            # cause a rebuild.
            with contextlib.suppress(*_TOLD):
                from urllib.parse import quote  # 4 ms that a cache which can be written to need not spend

                source = self._connect(f"file:{quote(self.path.as_posix())}?immutable=1", uri=True)
                source.backup(memory)
                source.close()
        return memory

    def close(self) -> None:
        """Close the database. Raises EnvironmentFailure when what stands in the journal cannot be brought into it: it stays
        there for whoever opens the cache next."""
        with self._lock:
            try:
                self.settle()
            finally:
                if self._journal is not None:
                    self._journal.close()
                    self._journal = None
                self._db.close()

    # --- the journal

    def gather(self, journal: Journal | None, fits: Fits = lambda table, row: True) -> None:
        """From now on put rows into this journal, and into the database at the next `settle`: later by milliseconds, for others
        that have it open, and not lost when this process is killed meanwhile. fits: as in bring_home. Raises EnvironmentFailure
        when what stands in it cannot be brought home."""
        if journal is not None:
            try:
                self.bring_home(journal, fits)
            except BaseException:
                journal.close()
                raise
        self._journal = journal

    @property
    def journal(self) -> str:
        """The path of the journal that rows are put into, "" for none."""
        return "" if self._journal is None else str(self._journal.path)

    def bring_home(self, journal: Journal, fits: Fits = lambda table, row: True) -> None:
        """Write what a killed run left in a journal. fits: whether a row of a table, as (scope, name, content), may still be
        written, since others may have written another; asked of rows of the first table first."""
        rows = {(table, scope, name): body for table, scope, name, body in journal.rows() if table in TABLES}
        before = self.renewed
        if rows:
            with self.transaction():
                for (table, scope, name), body in sorted(rows.items(), key=lambda one: TABLES.index(one[0][0])):
                    content = unpack(scope, name, body)
                    if content is not None and fits(table, (scope, name, content)):
                        self._execute(_SET[table], (scope, name, body))
        if self.renewed == before:
            journal.clear()

    def settle(self) -> None:
        """Bring into the database what stands in the journal. Raises EnvironmentFailure; then it stays there, and those who wait
        for it wait no longer: they would for as long as the disk is full."""
        with self._lock:
            done, self._then = self._then, {}
            try:
                if self._late:
                    self._commit(self._late)
                    self._late = {}
                    if self._journal is not None:
                        with contextlib.suppress(OSError):  # brought home once more, by whoever comes next
                            self._journal.clear()
            finally:
                for act, given in done.items():
                    act(*given)

    def then(self, act: Callable[..., object], given: Any) -> None:
        """Call `act` with this as soon as all that was set until now stands in the database, or cannot be brought there; once
        with all that it was given until then."""
        with self._lock:
            if self._late:
                self._then.setdefault(act, []).append(given)
                return
        act(given)

    def _guarded(self, error: Exception) -> None:
        """A damaged database met in the middle of a run: begin a new one. Other failures go up, with a next step."""
        if _is_damage(error) or self._denied(error):
            with contextlib.suppress(sqlite3.DatabaseError):
                self._db.close()
            self._db = self._anew(error)
            return
        raise EnvironmentFailure(f"the state database {self.path} cannot be used: {error}", _hint(error)) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes as one commit. May be nested."""
        with self._lock:
            if not self._depth:
                self.settle()
            self._depth += 1
            try:
                if self._depth == 1:
                    self._execute("BEGIN IMMEDIATE")
                yield
                if self._depth == 1 and self._db.in_transaction:
                    self._execute("COMMIT")
            except BaseException:
                if self._depth == 1:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.rollback()
                raise
            finally:
                self._depth -= 1

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except _TOLD as error:
                self._guarded(error)
                return []

    def get(self, table: str, name: str, scope: str = "") -> Any:
        """A row's content, None when it is absent or damaged."""
        late = self._late.get((table, scope, name)) if self._late else None
        if late is not None:
            return unpack(scope, name, late)
        query = _GET[table]
        rows = self._execute(query, (scope, name))
        content = unpack(scope, name, rows[0][0]) if rows else None
        if rows and content is None and self._mend():
            rows = self._execute(query, (scope, name))
            content = unpack(scope, name, rows[0][0]) if rows else None
        return content

    def all(self, table: str, scope: str = "") -> dict[str, Any]:
        """Every sound row of a scope, name -> content."""
        self.settle()
        found, damaged = self._sorted(table, scope)
        if damaged and self._mend():
            found, damaged = self._sorted(table, scope)
            for name in damaged:
                self.remove(table, name, scope)
        return found

    def _sorted(self, table: str, scope: str) -> tuple[dict[str, Any], list[str]]:
        """The sound rows, and the names of the damaged ones."""
        found, damaged = {}, []
        for name, body in self._execute(f"SELECT name, body FROM {table} WHERE scope=?", (scope,)):
            content = unpack(scope, name, body)
            if content is None:
                damaged.append(name)
            else:
                found[name] = content
        return found, damaged

    def _mend(self) -> bool:
        """Make the indexes again, once; whether it was done. A damaged row may be a sound one that a damaged index calls by
        another's name: then each of the two would overwrite the other for ever."""
        if self._mended:
            return False
        self._mended = True
        self._execute("REINDEX")
        return True

    def rows(self, table: str) -> int:
        """About how many rows a table has, at the most."""
        found = self._execute(f"SELECT max(rowid) FROM {table}")
        return int(found[0][0] or 0) if found else 0

    def names(self, table: str, scope: str = "") -> set[str]:
        """The names of all rows of a scope, sound or not."""
        self.settle()
        return {row[0] for row in self._execute(f"SELECT name FROM {table} WHERE scope=?", (scope,))}

    def has(self, table: str, names: Sequence[str], scope: str = "") -> set[str]:
        """Which of these there is a row of, sound or not."""
        late = {name for name in names if (table, scope, name) in self._late}
        marks = ",".join("?" * len(names))
        found = self._execute(f"SELECT name FROM {table} WHERE scope=? AND name IN ({marks})", (scope, *names))
        return late.union(row[0] for row in found)

    def scopes(self, table: str) -> list[str]:
        self.settle()
        return [row[0] for row in self._execute(f"SELECT DISTINCT scope FROM {table}") if isinstance(row[0], str)]

    def set(self, table: str, name: str, value: Any, scope: str = "") -> None:
        self.set_all([(table, name, value, scope)])

    def remember(self, table: str, name: str, value: Any, scope: str = "") -> None:
        """As `set`, of what is soon found out anew: it is written together with what is set later, and a kill before loses it."""
        with self._lock:
            if self._journal is None or self._depth:
                self.set(table, name, value, scope)
                return
            if not self._late:
                self._since = time.monotonic()
            self._late[table, scope, name] = pack(scope, name, value)

    def set_all(self, rows: Iterable[tuple[str, str, Any, str]]) -> None:
        """Write rows, each (table, name, value, scope), all or none."""
        packed = {(table, scope, name): pack(scope, name, value) for table, name, value, scope in rows}
        with self._lock:
            if self._depth:  # a part of somebody's transaction
                for (table, scope, name), body in packed.items():
                    self._execute(_SET[table], (scope, name, body))
            elif self._journal is not None:
                self._put_late(self._journal, packed)
            else:
                self._commit(packed)

    def _put_late(self, journal: Journal, packed: dict[tuple[str, str, str], bytes]) -> None:
        try:
            journal.add([(*address, body) for address, body in packed.items()])
        except OSError as error:
            try:
                self.settle()  # what came before must not go over it
                self._commit(packed)
            except EnvironmentFailure as failure:  # there is no room for the database either, and this one says why
                raise EnvironmentFailure(
                    f"{journal.path} cannot be written: {error.strerror or error}", _hint(error)
                ) from failure
            return
        now = time.monotonic()
        if not self._late:
            self._since = now
        self._late.update(packed)
        if len(self._late) >= _AT_ONCE or now - self._since > _LONGEST:
            self.settle()

    def _commit(self, rows: dict[tuple[str, str, str], bytes]) -> None:
        """Write rows as one commit."""
        tables: dict[str, list[tuple[str, str, bytes]]] = {}
        for (table, scope, name), body in rows.items():
            tables.setdefault(table, []).append((scope, name, body))
        with self._lock:
            # Again when damage was met meanwhile, which takes along what was written before.
            for _ in range(2):
                db = self._db
                try:
                    db.execute("BEGIN IMMEDIATE")
                    for table, values in tables.items():
                        db.executemany(_SET[table], values)
                    db.execute("COMMIT")
                    return
                except BaseException as error:
                    with contextlib.suppress(sqlite3.Error):
                        db.rollback()
                    if not isinstance(error, _TOLD):
                        raise
                    self._guarded(error)

    def remove(self, table: str, name: str | None = None, scope: str = "") -> None:
        """Remove a row, or every row of a scope."""
        with self._lock:
            if not self._depth:
                self.settle()
            if name is None:
                self._execute(f"DELETE FROM {table} WHERE scope=?", (scope,))
            else:
                self._execute(f"DELETE FROM {table} WHERE scope=? AND name=?", (scope, name))

    def compact(self) -> None:
        """Give freed pages back to the file system; waits for other users."""
        self.settle()
        self._execute("VACUUM")


# What the system says of a sound database: everything else is told by its content, which only damage can have made so.
_SYSTEM: Final = frozenset(
    (
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_TOOBIG,
    )
)


_CROWD: Final = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))


def _is_crowd(error: Exception) -> bool:
    """Whether it is others who are in the way, for a while."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CROWD


def _is_damage(error: Exception) -> bool:
    """Whether the content of the database is at fault: a flipped bit can be a page, a name that is no UTF-8 any more, a
    table without its column, a constraint without its index, a format from the future."""
    if isinstance(error, UnicodeDecodeError):
        return True
    if not isinstance(error, sqlite3.DatabaseError) or isinstance(error, sqlite3.ProgrammingError | sqlite3.DataError):
        return False
    code = getattr(error, "sqlite_errorcode", None)  # none for a name that cannot be decoded
    return code is None or code & 0xFF not in _SYSTEM


def is_full(error: Exception) -> bool:
    """Whether an error of the system says that there is no room, on the disk or in what a user may take of it."""
    return getattr(error, "errno", 0) in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


def _hint(error: Exception) -> str:
    text = str(error)
    if "full" in text or is_full(error):
        return ROOM
    if "locked" in text:
        return "another run holds it; wait for it or end it"
    return "check the disk, or set WFE_CACHE to another directory"
