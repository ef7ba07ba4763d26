"""The edges that fans' files make: a file that one step writes and another reads orders the two, as it does without a fan;
so does a directory that one writes into and another reads.

Knows the paths that a plan knows: those of a fan over constants in full, those of a fan whose items come in the run as a
pattern, `out/${item.stem}.txt`. Such an edge orders only; what the file holds is looked at when the reader's turn comes.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wfe.core.disk import LEXICAL, Disk
from wfe.core.graph import closure
from wfe.core.step import Step, texts_in


def folders_of(place: str) -> Iterator[str]:
    """The directories that a file lies in, the nearest first, without the root."""
    folder = os.path.dirname(place)
    while folder and folder != os.path.dirname(folder):
        yield folder
        folder = os.path.dirname(folder)


@dataclass(slots=True)
class _Files:
    """Places of files, patterns of such places, and the directories that they lie in."""

    disk: Disk
    paths: set[str] = field(default_factory=set)
    patterns: list[re.Pattern[str]] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)

    def add(self, text: str, pattern: bool = False) -> None:
        """pattern: whether the text is that of a fan's every item, `${item}` and all."""
        if pattern and "${" in text:
            # Only of the directories before the first item it is known where they are.
            begin = text.rfind("/", 0, text.index("${")) + 1
            folder = "" if text.startswith("${") else self.disk.place(f"{text[:begin]}x")[:-1]
            parts = [os.path.normcase(part) for part in re.split(r"\$\{[^{}]*\}", text[begin:])]
            self.patterns.append(re.compile(re.escape(folder) + ".+".join(re.escape(part) for part in parts)))
            self.lies_in(f"{folder}x")
        else:
            self.at(self.disk.place(text))

    def at(self, place: str) -> None:
        self.paths.add(place)
        self.lies_in(place)

    def lies_in(self, place: str) -> None:
        for folder in folders_of(place):
            if folder in self.folders:
                return
            self.folders.add(folder)

    def meets(self, other: _Files) -> bool:
        """Whether a path of one is a path of the other, or fits a pattern of it, or a path of this one lies in a directory
        that is a path of the other."""
        return (
            not self.paths.isdisjoint(other.paths)
            or not self.folders.isdisjoint(other.paths)
            or any(one.fullmatch(path) for one in self.patterns for path in other.paths)
            or any(one.fullmatch(path) for one in other.patterns for path in self.paths)
        )


class FanFiles:
    """The files that the fans among `steps` write and read. members: the steps of those whose items are known; of the others
    the paths are patterns."""

    def __init__(self, steps: Mapping[str, Step], members: Mapping[str, Sequence[Step]], disk: Disk = LEXICAL) -> None:
        self._disk = disk
        self._steps = steps
        self._fans = [step for step in steps.values() if step.fan is not None and _has_files(step)]
        found = {step.id: members.get(step.id, [step]) for step in self._fans}
        self._writes = {name: _written(disk, *each) for name, each in found.items()}
        self._reads = {name: _read(disk, *each) for name, each in found.items()}

    def may_write(self, path: str) -> bool:
        """Whether some fan writes the file, or into the directory, as far as its pattern tells."""
        one = _Files(self._disk, {self._disk.place(path), self._disk.leads(path)})
        return any(found.meets(one) for found in self._writes.values())

    def edges(self) -> dict[str, Step]:
        """The steps that get more needs by the fans' files, with those. A pattern makes no edge that would close a circle:
        it may fit a path that none of the fan's steps ever has. Nor does a directory, as without a fan."""
        if not self._fans:
            return {}
        steps = self._steps
        writes = {**{name: _written(self._disk, step) for name, step in steps.items()}, **self._writes}
        reads = {**{name: _read(self._disk, step) for name, step in steps.items()}, **self._reads}
        needs: dict[str, Sequence[str]] = {name: step.needs for name, step in steps.items()}
        changed: dict[str, Step] = {}
        for fan in self._writes:
            for other in steps:
                if other == fan or (other in self._writes and other < fan):
                    continue  # each pair of fans once
                for writer, reader in ((fan, other), (other, fan)):
                    if writer in needs[reader] or not writes[writer].meets(reads[reader]):
                        continue
                    sure = not writes[writer].paths.isdisjoint(reads[reader].paths)
                    if sure or reader not in closure([writer], needs):
                        needs[reader] = (*needs[reader], writer)
                        changed[reader] = steps[reader]._replace(needs=tuple(needs[reader]))
        return changed


def _has_files(step: Step) -> bool:
    return any(binding.kind in ("file", "output") for binding in step.inputs.values())


def _written(disk: Disk, *steps: Step) -> _Files:
    found = _Files(disk)
    for step in steps:
        for path in step.targets().values():
            found.add(path, step.fan is not None)
    return found


def _read(disk: Disk, *steps: Step) -> _Files:
    found = _Files(disk)
    for step in steps:
        for binding in step.inputs.values():
            if binding.kind == "file":
                for _, text in texts_in(binding.value):
                    found.add(text, step.fan is not None)
                    if step.fan is None or "${" not in text:
                        found.at(disk.leads(text))
    return found
