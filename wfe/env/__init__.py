"""Environments of their own for nodes whose packages clash with the rest: asked, resolved, made, used, removed.

`need` (what is asked) -> `place` (where a node runs, and why) -> `resolve` and `lock` (what that means in versions) ->
`prefix` (on disk). `Environments` is the front; nothing in here knows workflows, steps or workers.
"""

from wfe.env.declared import Declared
from wfe.env.environments import Environments, Locked
from wfe.env.listing import Entry, Removal
from wfe.env.lock import Lock, LockFile
from wfe.env.need import Isolation, Need, Spec, isolation
from wfe.env.place import Absent, Isolated, Main, Placement, place
from wfe.env.prefix import Prefix, Progress
from wfe.env.uv import Uv

__all__ = [
    "Absent",
    "Declared",
    "Entry",
    "Environments",
    "Isolated",
    "Isolation",
    "Lock",
    "LockFile",
    "Locked",
    "Main",
    "Need",
    "Placement",
    "Prefix",
    "Progress",
    "Removal",
    "Spec",
    "Uv",
    "isolation",
    "place",
]
