# ruff: noqa: E501 (the table holds one module a line)
"""What an import says, where a statement stands, and names that are bound or reached out of sight."""

from __future__ import annotations

import pytest
from reaching import changes, reached

TWO = "def add(x): return x + 1\ndef sub(x): return x - 1\n"
B = {"p.b": "K = 1\ndef g(): return K"}
OWN = {**B, "p/__init__": "from . import b\ndef total(): return b.g()"}
AREA = {"p/__init__": "from p.core import area", "p.core": "def area(x): return x * 5", "p.area": "def main(): pass"}
HINTS = "import typing\nclass A:\n    x = 1\nclass B:\n    a: %s\ndef f(): return typing.get_type_hints(B)['a']"
MARKED = "def workflow_node(g):\n    return lambda: (1, g())"
LAZY = {"n": "from p import K\ndef f(): return K", "p.b": "K = 1"}
GIVES = "def __getattr__(name):\n    from p import b\n    return b.K + 1"

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
    "a name bound in an annotation": ({"n": "def q(x: (Y := 3)): return x\ndef f(): return Y"}, "n", ":= 3", ":= 4"),
    "an annotation that is read": ({"n": "K: 1\ndef f(): return __annotations__['K']"}, "n", "K: 1", "K: 2"),
    "import_module by another name": ({"n": "from importlib import import_module as im\ndef f(): return im('p.a').K", "p/__init__": "", "p.a": "K = 1"}, "p.a", "K = 1", "K = 2"),
    "import_module by keyword": ({"n": "import importlib\ndef f(): return importlib.import_module(name='a').K", "a": "K = 1"}, "a", "K = 1", "K = 2"),
    "the table of modules by itself": ({"n": "from sys import modules\nK = 1\ndef f(): return modules[__name__].K"}, "n", "K = 1", "K = 2"),
    "the table of modules of another name": ({"n": "import sys as s\nK = 1\ndef f(): return s.modules[__name__].K"}, "n", "K = 1", "K = 2"),
    "the table of modules, imported inside": ({"n": "K = 1\ndef f():\n    from sys import modules as m\n    return m[__name__].K"}, "n", "K = 1", "K = 2"),
    "the module of a function": ({"n": "import inspect\nK = 1\ndef f(): return inspect.getmodule(f).K"}, "n", "K = 1", "K = 2"),
    "a function's globals": ({"n": "K = 1\ndef h(): pass\ndef f(): return h.__globals__['K']"}, "n", "K = 1", "K = 2"),
    "globals of the builtins": ({"n": "import builtins\nK = 1\ndef f(): return builtins.globals()['K']"}, "n", "K = 1", "K = 2"),
    "a module loaded from its path": ({"n": "from importlib.util import spec_from_file_location\ndef f(): return spec_from_file_location('q', 'p/a.py')", "p/__init__": "", "p.a": "K = 1"}, "p.a", "K = 1", "K = 2"),
    "a submodule that its package imports": ({**OWN, "n": "from p import b\ndef f(): return b.g()"}, "p.b", "K = 1", "K = 2"),
    "a submodule that its package imports by its full name": ({**B, "p/__init__": "from p import b", "n": "from p import b\ndef f(): return b.g()"}, "p.b", "K = 1", "K = 2"),
    "a submodule that its package tries to import": ({**B, "p/__init__": "try:\n    from . import b\nexcept ImportError:\n    b = None", "n": "from p import b\ndef f(): return b.g()"}, "p.b", "K = 1", "K = 2"),
    "a submodule that its package uses": ({**OWN, "n": "from p import total\ndef f(): return total()"}, "p.b", "K = 1", "K = 2"),
    "a submodule that its package and another submodule import": ({**OWN, "p.a": "from . import b\ndef h(): return b.g()", "n": "from p.a import h\ndef f(): return h()"}, "p.b", "K = 1", "K = 2"),
    "a submodule by getattr": ({**OWN, "n": "import p\ndef f(): return getattr(p, 'b').g()"}, "p.b", "K = 1", "K = 2"),
    "a submodule by attrgetter": ({**OWN, "n": "import p\nimport operator\ndef f(): return operator.attrgetter('b.K')(p)"}, "p.b", "K = 1", "K = 2"),
    "a submodule by a star": ({**OWN, "n": "from p import *\ndef f(): return b.g()"}, "p.b", "K = 1", "K = 2"),
    "a submodule of a submodule": ({"p/__init__": "from . import q", "p.q/__init__": "from . import r", "p.q.r": "K = 1", "n": "from p import q\ndef f(): return q.r.K"}, "p.q.r", "1", "2"),
    "an imported name beside a submodule of that name": ({**AREA, "n": "import p\ndef f(): return p.area(3)"}, "p.core", "5", "6"),
    "an imported name beside a submodule of that name, taken by from": ({**AREA, "n": "from p import area\ndef f(): return area(3)"}, "p.core", "5", "6"),
    "a function beside a submodule of its name": ({**AREA, "p/__init__": "def area(x): return x * 5", "n": "import p\ndef f(): return p.area(3)"}, "p/__init__", "5", "6"),
    "a module bound to the name of a submodule": ({**AREA, "p/__init__": "import p.core as area", "n": "import p\ndef f(): return p.area.area(3)"}, "p.core", "5", "6"),
    "a module's __dict__": ({"n": "import a\ndef f(): return sorted(a.__dict__.items())", "a": "K = 1"}, "a", "1", "2"),
    "an item of a module's __dict__": ({"n": "from p import a\ndef f(): return a.__dict__['K']", "p/__init__": "", "p.a": "K = 1"}, "p.a", "1", "2"),
    "a module's __getattribute__": ({"n": "import a\ndef f(): return a.__getattribute__('K')", "a": "K = 1"}, "a", "1", "2"),
    "the globals of a frame": ({"n": "import sys\nK = 1\ndef f(): return sys._getframe().f_globals['K']"}, "n", "K = 1", "K = 2"),
    "all names": ({"n": "def a(): pass\nT = sorted(dir())\ndef f(): return T"}, "n", "def a", "def b(): pass\ndef a"),
    "the module's docstring": ({"n": "'''one'''\ndef f(): return __doc__"}, "n", "one", "two"),
    "another module's docstring": ({"n": "import a\ndef f(): return a.__doc__", "a": "'''one'''"}, "a", "one", "two"),
    "a docstring that was none": ({"n": "import a\ndef f(): return a.__doc__", "a": "K = 1"}, "a", "K", "'''one'''\nK"),
    "a __getattr__ for what only type checkers import": ({**LAZY, "p/__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import K\n" + GIVES}, "p/__init__", "+ 1", "+ 2"),
    "a __getattr__ for what is only annotated": ({**LAZY, "p/__init__": "K: int\n" + GIVES}, "p/__init__", "+ 1", "+ 2"),
    "a __getattr__ for what a function may bind": ({**LAZY, "p/__init__": "def init():\n    global K\n    K = 3\n" + GIVES}, "p/__init__", "+ 1", "+ 2"),
    "a __getattr__ for what was deleted": ({**LAZY, "p/__init__": "K = 3\ndel K\n" + GIVES}, "p/__init__", "+ 1", "+ 2"),
    "a __getattr__ with the name of a submodule": ({**LAZY, "n": "import p\ndef f(): return p.b", "p/__init__": "def __getattr__(name): return 1 + 1"}, "p/__init__", "+ 1", "+ 2"),
    "a star where another fails": ({"n": "try:\n    from no_such import *\nexcept ImportError:\n    from a import *\ndef f(): return g()", "a": "def g(): return 1"}, "a", "1", "2"),
    "a name that an import of another module does not find": ({"n": "try:\n    from q import K\nexcept ImportError:\n    K = 5\ndef f(): return K", "q": "from a import g\nK = 9", "a": "def g(): pass"}, "a", "def g", "def h"),
    "a submodule that an import of another module does not find": ({"n": "try:\n    from q import K\nexcept ImportError:\n    K = 5\ndef f(): return K", "q": "import p.b\nK = 9", "p/__init__": "", "p.b": ""}, "q", "p.b", "p.c"),
    "a name that an import in a package of another does not find": ({"n": "def f():\n    try:\n        import q\n    except ImportError:\n        return 5", "q": "from p import g", "p/__init__": "from p.b import g", "p.b": "def g(): pass"}, "p.b", "def g", "def h"),
    "a star under a condition, in another module": ({"n": "import c\ndef f(): return c.g()", "c": "if True:\n    from a import *", "a": "def g(): return 1"}, "a", "1", "2"),
    "a quoted annotation": ({"n": HINTS % "'A'"}, "n", "x = 1", "x = 2"),
    "a part of a quoted annotation": ({"n": HINTS % "'list[A] | None'"}, "n", "x = 1", "x = 2"),
    "a quoted part of an annotation": ({"n": HINTS % "list['A']"}, "n", "x = 1", "x = 2"),
    "a quoted annotation of a parameter": ({"n": "import typing\nclass A:\n    x = 1\ndef g(a: 'A') -> 'A': pass\ndef f(): return typing.get_type_hints(g)"}, "n", "x = 1", "x = 2"),
    "a quoted part of a name for an annotation": ({"n": "L = list['A']\n" + HINTS % "L"}, "n", "x = 1", "x = 2"),
    "a quoted part of a base": ({"n": "from typing import Generic, get_args\nclass A:\n    x = 1\nclass B(list['A']): pass\ndef f(): return B.__orig_bases__"}, "n", "x = 1", "x = 2"),
    "annotations that become texts": ({"n": HINTS % "int"}, "n", "import typing", "from __future__ import annotations\nimport typing"),
    "a workflow_node of the project": ({"n": "from a import workflow_node\n@workflow_node\ndef f(): return 1", "a": MARKED}, "a", "(1,", "(2,"),
    "a workflow_node of the project by a star": ({"n": "from a import *\n@workflow_node\ndef f(): return 1", "a": MARKED}, "a", "(1,", "(2,"),
    "a workflow_node of the module": ({"n": MARKED + "\n@workflow_node\ndef f(): return 1"}, "n", "(1,", "(2,"),
}  # fmt: skip


@pytest.mark.parametrize("case", HIT)
def test_an_edit_changes_the_digest(case: str) -> None:
    modules, module, old, new = HIT[case]
    assert changes(modules, module, old, new)


# What says nothing about the result, and must rebuild nothing.
MISS = {
    "a __getattr__ for something else": ({**LAZY, "p/__init__": "K = 1\n" + GIVES}, "p/__init__", "+ 1", "+ 2"),
    "an import of something else": ({"n": "import math as m\nimport json\ndef f(v): return m.sqrt(v)"}, "n", "import json", "import csv"),
    "a name that nobody uses and that is found elsewhere": ({"n": "from q import K\ndef f(): return K", "q": "from a import g\nK = 9", "a": "from b import g", "b": "def g(): pass"}, "a", "from b import g", "def g(): pass"),
    "imports in another order": ({"n": "import math\nimport json\ndef f(v): return math.sqrt(json.loads(v))"}, "n", "import math\nimport json", "import json\nimport math"),
    "a constant in between": ({"n": "A = 1\nB = A\ndef f(): return B"}, "n", "A = 1\n", "A = 1\nN = [2]\n"),
    "another decorated function above": ({"n": "from functools import lru_cache\n@lru_cache\ndef g(): return 1\ndef f(): return g()"}, "n", "@lru_cache\ndef g", "@lru_cache\ndef other(): return 2\n@lru_cache\ndef g"),
    "what is not used of a submodule that its package imports": ({**OWN, "p.b": "def g(): return 1\ndef h(): return 2", "n": "from p import b\ndef f(): return b.g()"}, "p.b", "2", "3"),
    "a submodule that has not the name": ({**AREA, "p.c": "K = 1", "n": "import p\ndef f(): return p.area(3)"}, "p.c", "1", "2"),
    "a module's name": ({"n": "import a\ndef f(): return a.__name__, a.__file__", "a": "K = 1"}, "a", "1", "2"),
    "a docstring that is not used": ({"n": "'''one'''\nimport a\ndef f(): return f.__doc__, a.g()", "a": "def g(): return 1"}, "n", "one", "two"),
    "a class in an annotation of something else": ({"n": HINTS % "int" + "\ndef g(a: 'A'): pass"}, "n", "x = 1", "x = 2"),
    "annotations that become texts where there are none": ({"n": "def f(): return 1"}, "n", "def f", "from __future__ import annotations\ndef f"),
    "the options of a node, marked by another name": ({"n": "import wfe as w\n@w.workflow_node(retries=1)\ndef f(): return 1"}, "n", "retries=1", "retries=2"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISS)
def test_an_edit_changes_nothing(case: str) -> None:
    modules, module, old, new = MISS[case]
    assert not changes(modules, module, old, new)


def test_a_package_that_brings_all_its_names_is_used() -> None:
    assert reached({"n": "from numpy import *\ndef f(v): return floor(v)"}).packages == {"numpy"}
