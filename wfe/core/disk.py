"""What the plan must know of the file system, asked of somebody else: core looks at no file.

Two texts may name one file, by an absolute path or through a link to a directory. Told apart wrongly, a step would be let
overwrite the file that it reads.
"""

from __future__ import annotations

import os.path


class Disk:
    """The plan's questions, answered by the texts alone; `wfe.engine.ground` answers by the files of a project."""

    def place(self, text: str) -> str:
        """The one name of the file that a path means: of two paths of one file it is the same."""
        return os.path.normpath(text)

    def leads(self, text: str) -> str:
        """The place of what is read by this path: where the path itself is a link, of what that leads to."""
        return self.place(text)

    def barred(self, text: str) -> str:
        """What the file of this path is, if no step may write it ("a workflow document"); "" when one may."""
        return ""

    def holds_cache(self, text: str) -> bool:
        """Whether the cache lies in the directory of this path, or is it."""
        return False


LEXICAL = Disk()
