from __future__ import annotations

import pytest
from chain import begin
from space import Space


@pytest.fixture
def chain(space: Space) -> Space:
    """load -> scale -> write, load -> shout; it has run."""
    return begin(space)
