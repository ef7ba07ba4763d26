"""Run as a script: make the environment of the requirements that are given, and print its path. For tests that kill it.

run_prefix.py ROOT LOCK_FILE REQUIREMENT...
"""

from __future__ import annotations

import sys
from pathlib import Path

from wfe.env import Environments
from wfe.env import need as needs

found = Environments(Path(sys.argv[1]), Path(sys.argv[2]))
print(found.prefix(found.lock(needs.spec(sys.argv[3:]))).path, flush=True)
