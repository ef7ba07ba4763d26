# ruff: noqa: E501 (the table holds one module a line)
"""Which edits change the digest of what a node reaches: all that can change its result, and as little else as can be told."""

from __future__ import annotations

import pytest
from reaching import changes, reached

# --- cosmetics

PLAIN = """
from wfe import workflow_node
SIZE = 3  # three
OTHER = 4

def helper(x):
    return x + SIZE

@workflow_node()
def f(x):
    return {"y": helper(x)}

@workflow_node()
def g(x):
    return {"y": OTHER}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# three", "# not four"),
        ("\n\ndef helper", "\n\n\n\n\ndef helper"),
        ("x + SIZE", "(x +\n        SIZE)"),
        ('{"y": helper(x)}', "{'y': helper(x)}"),
        ("SIZE = 3", "SIZE = 0x3"),
        ("OTHER = 4", "OTHER = 5"),
        ('return {"y": OTHER}', 'return {"z": OTHER}'),
        ("from wfe import workflow_node", '"""A docstring."""\nfrom wfe import workflow_node'),
        ("\nOTHER", "\nNEW = 7\nOTHER"),
        ("@workflow_node()\ndef f", "@workflow_node(retries=3, timeout=5)\ndef f"),
        ("\n@workflow_node()\ndef g", "\nif __name__ == '__main__':\n    print(f(1))\n\n@workflow_node()\ndef g"),
    ],
)
def test_what_cannot_change_the_result_changes_no_digest(old: str, new: str) -> None:
    assert not changes({"n": PLAIN}, "n", old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SIZE = 3", "SIZE = 4"),
        ("SIZE = 3", "SIZE = 3.0"),
        ("x + SIZE", "x - SIZE"),
        ('{"y": helper(x)}', '{"y": helper(x), "z": 1}'),
        ("def f(x)", "def f(x=1)"),
        ("return x + SIZE", "x += 1\n    return x + SIZE"),
        ("\nOTHER", "\nprint('at import')\nOTHER"),
        ("\nOTHER", "\nSIZE += 1\nOTHER"),
        ("\nOTHER", "\nimport random; random.seed(1)\nOTHER"),
        ("\nOTHER", "\nfor SIZE in range(9): pass\nOTHER"),
        ("@workflow_node()\ndef f", "@workflow_node()\n@twice\ndef f"),
    ],
)
def test_what_can_change_the_result_changes_the_digest(old: str, new: str) -> None:
    assert changes({"n": PLAIN}, "n", old, new)


MISS = {
    "a helper that nobody calls": (
        {"n": "import a\ndef f():\n    return a.g()", "a": "def g():\n    return 1\ndef h():\n    return 2"},
        "a",
        "2",
        "3",
    ),
    "a constant of another function": (
        {
            "n": "from a import g\ndef f():\n    return g()",
            "a": "K = 1\nL = 5\ndef g():\n    return K\ndef h():\n    return L",
        },
        "a",
        "5",
        "6",
    ),
    "an entry of a constant of another function": (
        {"n": "C = {}\nC['a'] = 5\nK = 1\ndef f():\n    return K"},
        "n",
        "5",
        "6",
    ),
    "a method of a class that is not used": (
        {"n": "from dataclasses import dataclass\n@dataclass\nclass C:\n    x: int = 5\ndef f():\n    return 1"},
        "n",
        "5",
        "6",
    ),
    "a cached helper that is not used": (
        {
            "n": "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef g():\n    return 5\ndef f():\n    return 1"
        },
        "n",
        "5",
        "6",
    ),
    "a constant made by a third party's call": (
        {"n": "import re\nP = re.compile('5')\ndef f():\n    return 1"},
        "n",
        "5",
        "6",
    ),
    "another node": (
        {
            "n": "from wfe import workflow_node\n@workflow_node()\ndef g():\n    return 5\n@workflow_node()\ndef f():\n    return 1"
        },
        "n",
        "5",
        "6",
    ),
    "a submodule that is not imported": (
        {"n": "import a\ndef f():\n    return a.g()", "a/__init__": "def g():\n    return 1", "a.b": "X = 5"},
        "a.b",
        "5",
        "6",
    ),
    "a plain subclass that is not used": (
        {"n": "class B:\n    x = 1\nclass C(B):\n    x = 5\ndef f():\n    return B.x"},
        "n",
        "5",
        "6",
    ),
}


@pytest.mark.parametrize("case", MISS)
def test_an_edit_of_what_is_not_reached_changes_nothing(case: str) -> None:
    modules, module, old, new = MISS[case]
    assert not changes(modules, module, old, new)


def test_packages_are_named_by_those_who_use_them() -> None:
    found = reached(
        {
            "n": "import numpy as np\nimport cv2\nfrom PIL import Image\ndef f():\n    return np.zeros(1)\ndef g():\n    return Image"
        }
    )
    assert "numpy" in found.packages
    assert "PIL" not in found.packages


def test_a_package_used_through_a_helper_is_named() -> None:
    found = reached(
        {
            "n": "from a import g\ndef f():\n    return g()",
            "a": "import scipy.ndimage\ndef g():\n    return scipy.ndimage.zoom(1)",
        }
    )
    assert "scipy" in found.packages


def test_a_package_imported_in_both_arms_is_named() -> None:
    found = reached(
        {"n": "try:\n    import fast as m\nexcept ImportError:\n    import slow as m\ndef f():\n    return m.g()"}
    )
    assert {"fast", "slow"} <= found.packages


def test_type_checking_imports_do_not_make_edges_into_nothing() -> None:
    found = reached(
        {
            "n": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import T\ndef f(x: 'T'):\n    return 1",
            "a": "T = int",
        }
    )
    assert found.digest


def test_the_modules_that_are_imported_are_named() -> None:
    found = reached({"n": "import a\ndef f():\n    return a.g()", "a": "import b\ndef g():\n    return 1", "b": ""})
    assert found.modules == {"n", "a", "b"}
