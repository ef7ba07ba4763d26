# ruff: noqa: E501 (the table holds one module a line)
"""What an import says, where a statement stands, and names that are bound or reached out of sight."""

from __future__ import annotations

import pytest
from reaching import changes, reached

TWO = "def add(x): return x + 1\ndef sub(x): return x - 1\n"

# (modules, where, old, new)
HIT = {
    "another function of a third party": ({"n": "from math import floor as g\ndef f(v): return g(v)"}, "n", "floor", "ceil"),
    "another module by the same name": ({"n": "import math as m\ndef f(v): return m.sqrt(v)"}, "n", "math", "cmath"),
    "another part of a package": ({"n": "import os.path as p\ndef f(v): return p.join(v)"}, "n", "os.path", "ntpath"),
    "in a class": ({"n": "from statistics import mean as a\nclass C:\n    def m(self, v): return a(v)\ndef f(v): return C().m(v)"}, "n", "mean", "median"),
    "in a helper": ({"n": "from a import g\ndef f(v): return g(v)", "a": "from math import floor as h\ndef g(v): return h(v)"}, "a", "floor", "ceil"),
    "passed on by a package": ({"n": "from p import h\ndef f(v): return h(v)", "p/__init__": "from math import floor as h"}, "p/__init__", "floor", "ceil"),
    "two names exchanged": ({"n": "from a import add as f1, sub as g1\ndef f(v): return f1(v) * 2 + g1(v)", "a": TWO}, "n", "add as f1, sub as g1", "sub as f1, add as g1"),
    "the order of two that bind one name": ({"n": "from a import K\nfrom b import K\ndef f(): return K", "a": "K = 1", "b": "K = 2"}, "n", "from a import K\nfrom b import K", "from b import K\nfrom a import K"),
    "all of another module": ({"n": "from math import *\ndef f(v): return sqrt(v)"}, "n", "math", "cmath"),
    "the order of two that bring all": ({"n": "from a import *\nfrom b import *\ndef f(): return K", "a": "K = 1", "b": "K = 2"}, "n", "from a import *\nfrom b import *", "from b import *\nfrom a import *"),
    "a name written before or after it is used": ({"n": "A = 1\nB = A\nA = 2\ndef f(): return B"}, "n", "B = A\nA = 2", "A = 2\nB = A"),
    "a list changed before or after it is copied": ({"n": "X = [1]\nY = list(X)\nX.append(2)\ndef f(): return Y"}, "n", "Y = list(X)\nX.append(2)", "X.append(2)\nY = list(X)"),
    "an item set before or after it is read": ({"n": "D = {}\nY = dict(D)\nD['a'] = 1\ndef f(): return Y"}, "n", "Y = dict(D)\nD['a'] = 1", "D['a'] = 1\nY = dict(D)"),
    "a global bound in a function": ({"n": "def init():\n    global T\n    T = 5\nD = init()\ndef f(): return T"}, "n", "T = 5", "T = 6"),
    "a name bound in a default": ({"n": "def q(x=(Y := 3)): return x\ndef f(): return Y"}, "n", ":= 3", ":= 4"),
    "an annotation that is read": ({"n": "K: 1\ndef f(): return __annotations__['K']"}, "n", "K: 1", "K: 2"),
    "import_module by another name": ({"n": "from importlib import import_module as im\ndef f(): return im('p.a').K", "p/__init__": "", "p.a": "K = 1"}, "p.a", "K = 1", "K = 2"),
    "import_module by keyword": ({"n": "import importlib\ndef f(): return importlib.import_module(name='a').K", "a": "K = 1"}, "a", "K = 1", "K = 2"),
    "the table of modules by itself": ({"n": "from sys import modules\nK = 1\ndef f(): return modules[__name__].K"}, "n", "K = 1", "K = 2"),
    "a function's globals": ({"n": "K = 1\ndef h(): pass\ndef f(): return h.__globals__['K']"}, "n", "K = 1", "K = 2"),
    "globals of the builtins": ({"n": "import builtins\nK = 1\ndef f(): return builtins.globals()['K']"}, "n", "K = 1", "K = 2"),
    "a module loaded from its path": ({"n": "from importlib.util import spec_from_file_location\ndef f(): return spec_from_file_location('q', 'p/a.py')", "p/__init__": "", "p.a": "K = 1"}, "p.a", "K = 1", "K = 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", HIT)
def test_an_edit_changes_the_digest(case: str) -> None:
    modules, module, old, new = HIT[case]
    assert changes(modules, module, old, new)


# What says nothing about the result, and must rebuild nothing.
MISS = {
    "an import of something else": ({"n": "import math as m\nimport json\ndef f(v): return m.sqrt(v)"}, "n", "import json", "import csv"),
    "imports in another order": ({"n": "import math\nimport json\ndef f(v): return math.sqrt(json.loads(v))"}, "n", "import math\nimport json", "import json\nimport math"),
    "a constant in between": ({"n": "A = 1\nB = A\ndef f(): return B"}, "n", "A = 1\n", "A = 1\nN = [2]\n"),
    "another decorated function above": ({"n": "from functools import lru_cache\n@lru_cache\ndef g(): return 1\ndef f(): return g()"}, "n", "@lru_cache\ndef g", "@lru_cache\ndef other(): return 2\n@lru_cache\ndef g"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISS)
def test_an_edit_changes_nothing(case: str) -> None:
    modules, module, old, new = MISS[case]
    assert not changes(modules, module, old, new)


def test_a_package_that_brings_all_its_names_is_used() -> None:
    assert reached({"n": "from numpy import *\ndef f(v): return floor(v)"}).packages == {"numpy"}
