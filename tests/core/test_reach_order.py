# ruff: noqa: E501 (the table holds one module a line)
"""Where the order of two statements counts: after they have changed places, another value may come out."""

from __future__ import annotations

import pytest
from reaching import changes

STAGES = "S = []\ndef stage(g):\n    S.append(g)\n    return g\n"
ONE, TWO = "@stage\ndef one(): return 1\n", "@stage\ndef two(): return 2\n"
A, B = "class A(K): pass\n", "class B(K): pass\n"
G, H = "def g(): return 1\n", "def h(): return 2\n"
PLUGINS = {"s": STAGES, "p/__init__": "", "p.a": "from s import stage\n" + ONE, "p.b": "from s import stage\n" + TWO}

# (modules, before, after): the text in the module "n", or in "a", that is changed.
HIT = {
    "decorated functions": ({"n": STAGES + ONE + TWO + "def f(): return S"}, ONE + TWO, TWO + ONE),
    "decorated functions, the decorator elsewhere": ({"n": "from s import S, stage\n" + ONE + TWO + "def f(): return S", "s": STAGES}, ONE + TWO, TWO + ONE),
    "calls that fill a list": ({"n": STAGES + "A = stage(1)\nB = stage(2)\ndef f(): return S"}, "A = stage(1)\nB = stage(2)", "B = stage(2)\nA = stage(1)"),
    "subclasses that their base collects": ({"n": "class K:\n    kinds = []\n    def __init_subclass__(cls): K.kinds.append(cls)\n" + A + B + "def f(): return K.kinds"}, A + B, B + A),
    "subclasses found by __subclasses__": ({"n": "class K: pass\n" + A + B + "def f(): return K.__subclasses__()"}, A + B, B + A),
    "functions read through globals": ({"n": G + H + "def f(): return list(globals())"}, G + H, H + G),
    "functions read through vars": ({"n": "import a\ndef f(): return list(vars(a))", "a": G + H}, G + H, H + G),
    "functions read through __dict__": ({"n": "import a\ndef f(): return list(a.__dict__)", "a": G + H}, G + H, H + G),
    "names that an imported module gives": ({"n": "import a\ndef f(): return list(vars(a))", "a": "import math\nimport json\n"}, "import math\nimport json\n", "import json\nimport math\n"),
    "imports of modules that register": ({"n": "from s import S\nimport p.a\nimport p.b\ndef f(): return S", **PLUGINS}, "import p.a\nimport p.b", "import p.b\nimport p.a"),
    "imports of modules that register, in one statement": ({"n": "from s import S\nimport p.a, p.b\ndef f(): return S", **PLUGINS}, "p.a, p.b", "p.b, p.a"),
    "imports from a package of modules that register": ({"n": "from s import S\nfrom p import a, b\ndef f(): return S", **PLUGINS}, "a, b", "b, a"),
    "imports of modules that change at import": ({"n": "from s import S\nimport a\nimport b\ndef f(): return S", "s": "S = []", "a": "from s import S\nS.append(1)", "b": "from s import S\nS.append(2)"}, "import a\nimport b", "import b\nimport a"),
    "imports of modules that import those": ({"n": "from s import S\nimport x\nimport p.b\ndef f(): return S", "x": "import p.a", **PLUGINS}, "import x\nimport p.b", "import p.b\nimport x"),
    "a copy and a call that fills": ({"n": STAGES + "stage(1)\nY = list(S)\ndef f(): return Y"}, "stage(1)\nY = list(S)", "Y = list(S)\nstage(1)"),
    "a copy and a function that is registered": ({"n": STAGES + ONE + "Y = list(S)\ndef f(): return Y"}, ONE + "Y = list(S)", "Y = list(S)\n" + ONE),
    "a copy and an import that fills": ({"n": "from s import S\nimport p.a\nY = list(S)\ndef f(): return Y", **PLUGINS}, "import p.a\nY = list(S)", "Y = list(S)\nimport p.a"),
    "a sum by a function and an import that fills": ({"n": "from s import count\nimport p.a\nY = count()\ndef f(): return Y", **PLUGINS, "s": STAGES + "def count(): return len(S)"}, "import p.a\nY = count()", "Y = count()\nimport p.a"),
    "a name between two functions": ({"n": "def g(): return 1\nh = g\ndef g(): return 2\ndef f(): return h()"}, "h = g\ndef g(): return 2", "def g(): return 2\nh = g"),
    "a name between two imports": ({"n": "from a import g\nh = g\nfrom b import g\ndef f(): return h()", "a": G, "b": G}, "h = g\nfrom b import g", "from b import g\nh = g"),
    "a name between two imports of libraries": ({"n": "from math import sqrt\nh = sqrt\nfrom cmath import sqrt\ndef f(): return h(4)"}, "h = sqrt\nfrom cmath import sqrt", "from cmath import sqrt\nh = sqrt"),
    "a default between two values": ({"n": "K = 1\ndef g(x=K): return x\nK = 2\ndef f(): return g()"}, "def g(x=K): return x\nK = 2", "K = 2\ndef g(x=K): return x"),
    "a base that is defined twice": ({"n": "class K: x = 1\n" + A + "class K: x = 2\ndef f(): return A.x"}, A + "class K: x = 2", "class K: x = 2\n" + A),
    "a star and an import": ({"n": "from a import *\nfrom b import g\ndef f(): return g()", "a": G, "b": G}, "from a import *\nfrom b import g", "from b import g\nfrom a import *"),
    "a star and a function": ({"n": "from a import *\n" + G + "def f(): return g()", "a": G}, "from a import *\n" + G, G + "from a import *\n"),
    "a star and a name taken from one above": ({"n": "from a import *\nh = g\nfrom b import *\ndef f(): return h()", "a": G, "b": G}, "h = g\nfrom b import *", "from b import *\nh = g"),
    "a star and what runs at import": ({"n": "S = []\nfrom a import *\nS.append(g())\nfrom b import *\nS.append(1)\ndef f(): return S", "a": G, "b": G}, "S.append(g())\nfrom b import *", "from b import *\nS.append(g())"),
    "a value and a patch of what it was taken from": ({"n": "import a\nX = a.K\na.K = 5\ndef f(): return X", "a": "K = 1"}, "X = a.K\na.K = 5", "a.K = 5\nX = a.K"),
    "a name and an import that patches it": ({"n": "from a import g\nimport q\ndef f(): return g()", "a": G, "q": "import a\na.g = lambda: 5"}, "from a import g\nimport q", "import q\nfrom a import g"),
    "a name and an import that patches it by a kept call": ({"n": "from a import g\nimport q\ndef f(): return g()", "a": G, "q": "import a\ndef patch(): a.g = lambda: 5\nD = patch()"}, "from a import g\nimport q", "import q\nfrom a import g"),
    "a name and a call that binds it anew": ({"n": "from a import K\nimport a\na.set(5)\ndef f(): return K", "a": "K = 1\ndef set(v):\n    global K\n    K = v"}, "from a import K\nimport a\na.set(5)", "import a\na.set(5)\nfrom a import K"),
    "a name of the builtins and its use": ({"n": "X = max([1, 2])\ndef max(v): return 9\ndef f(): return X"}, "X = max([1, 2])\ndef max(v): return 9", "def max(v): return 9\nX = max([1, 2])"),
    "a name that may not be bound yet": ({"n": "try:\n    X = K\nexcept NameError:\n    X = 0\nK = 5\ndef f(): return X"}, "try:\n    X = K\nexcept NameError:\n    X = 0\nK = 5", "K = 5\ntry:\n    X = K\nexcept NameError:\n    X = 0"),
    "a name and a pattern that binds it": ({"n": "match [1]:\n    case [B]: pass\nB = 2\ndef f(): return B"}, "match [1]:\n    case [B]: pass\nB = 2", "B = 2\nmatch [1]:\n    case [B]: pass"),
    "a name and what deletes it": ({"n": "from a import *\nmax = 1\ndel max\ndef f(): return max", "a": "max = 5"}, "max = 1\ndel max", "del max\nmax = 1"),
    "a function that a star brings, too, and its use": ({"n": "from a import *\nK = g()\ndef g(): return 5\ndef f(): return K", "a": G}, "K = g()\ndef g(): return 5", "def g(): return 5\nK = g()"),
    "a function that a star of a library brings, too, and its use": ({"n": "from math import *\nK = sqrt(4)\ndef sqrt(v): return 5\ndef f(): return K"}, "K = sqrt(4)\ndef sqrt(v): return 5", "def sqrt(v): return 5\nK = sqrt(4)"),
    "a star under a condition and a function": ({"n": "if True:\n    from a import *\n" + G + "def f(): return g()", "a": G}, "if True:\n    from a import *\n" + G, G + "if True:\n    from a import *\n"),
    "a star of a library and a function": ({"n": "from math import *\ndef sqrt(v): return 1\ndef f(): return sqrt(4)"}, "from math import *\ndef sqrt(v): return 1", "def sqrt(v): return 1\nfrom math import *"),
}  # fmt: skip


@pytest.mark.parametrize("case", HIT)
def test_another_order_changes_the_digest(case: str) -> None:
    assert changed(*HIT[case])


# Orders of which nothing can be seen.
MISS = {
    "plain functions": ({"n": G + H + "def f(): return g(), h()"}, G + H, H + G),
    "plain classes": ({"n": "class C: pass\nclass D: pass\ndef f(): return C, D"}, "class C: pass\nclass D: pass", "class D: pass\nclass C: pass"),
    "constants": ({"n": "I = 1\nJ = 2\ndef f(): return I, J"}, "I = 1\nJ = 2", "J = 2\nI = 1"),
    "constants made of another": ({"n": "K = 1\nI = K + 1\nJ = K + 2\ndef f(): return I, J"}, "I = K + 1\nJ = K + 2", "J = K + 2\nI = K + 1"),
    "constants made by a function": ({"n": "def mk(v): return v\nI = mk(1)\nJ = mk(2)\ndef f(): return I, J"}, "I = mk(1)\nJ = mk(2)", "J = mk(2)\nI = mk(1)"),
    "constants made by a library": ({"n": "import re\nI = re.compile('a')\nJ = re.compile('b')\ndef f(): return I, J"}, "I = re.compile('a')\nJ = re.compile('b')", "J = re.compile('b')\nI = re.compile('a')"),
    "functions decorated by a library": ({"n": "from functools import lru_cache\n@lru_cache\ndef g(): return 1\n@lru_cache\ndef h(): return 2\ndef f(): return g(), h()"}, "@lru_cache\ndef g(): return 1\n@lru_cache\ndef h(): return 2", "@lru_cache\ndef h(): return 2\n@lru_cache\ndef g(): return 1"),
    "imports of plain modules": ({"n": "import a\nimport b\ndef f(): return a.g(), b.h()", "a": G, "b": H}, "import a\nimport b", "import b\nimport a"),
    "imports from plain modules": ({"n": "from a import g\nfrom b import h\ndef f(): return g(), h()", "a": G, "b": H}, "from a import g\nfrom b import h", "from b import h\nfrom a import g"),
    "imports of modules that choose an import": ({"n": "import a\nimport b\ndef f(): return a.g(), b.h()", "a": "try:\n    import json\nexcept ImportError:\n    json = None\n" + G, "b": H}, "import a\nimport b", "import b\nimport a"),
    "imports beside one that patches something else": ({"n": "from a import g\nfrom b import h\nimport q\ndef f(): return g(), h()", "a": G, "b": H, "q": "import a\na.K = 5"}, "from b import h\nimport q", "import q\nfrom b import h"),
    "an import that may fail and a constant": ({"n": "try:\n    import lib\nexcept ImportError:\n    lib = None\nK = 5\ndef f(): return lib, K"}, "try:\n    import lib\nexcept ImportError:\n    lib = None\nK = 5", "K = 5\ntry:\n    import lib\nexcept ImportError:\n    lib = None"),
    "functions of builtin names": ({"n": "def max(v): return 1\nK = 5\ndef f(): return max(1), K"}, "def max(v): return 1\nK = 5", "K = 5\ndef max(v): return 1"),
    "a registered function that is not reached": ({"n": STAGES + ONE + TWO + "def f(): return 1"}, ONE + TWO, TWO + ONE),
    "plain functions below a star": ({"n": "from a import *\n" + G + H + "def f(): return g(), h(), k", "a": "k = 1"}, G + H, H + G),
}  # fmt: skip


@pytest.mark.parametrize("case", MISS)
def test_another_order_changes_nothing(case: str) -> None:
    assert not changed(*MISS[case])


def changed(modules: dict[str, str], old: str, new: str) -> bool:
    return changes(modules, "n" if old in modules["n"] else "a", old, new)
