# ruff: noqa: E501 (the table holds one module a line)
"""Every way in which code reaches code: an edit there changes the digest of what a node reaches."""

from __future__ import annotations

import pytest
from reaching import changes

# (modules, where, old, new)
HIT = {
    "a helper two imports away": (
        {
            "n": "import a\ndef f():\n    return a.g()",
            "a": "from b import h\ndef g():\n    return h()",
            "b": "def h():\n    return 1",
        },
        "b",
        "1",
        "2",
    ),
    "a constant of a helper's module": (
        {"n": "from a import g\ndef f():\n    return g()", "a": "K = 1\ndef g():\n    return K"},
        "a",
        "K = 1",
        "K = 2",
    ),
    "a class and its base": (
        {
            "n": "from a import C\ndef f():\n    return C().m()",
            "a": "class B:\n    x = 1\nclass C(B):\n    def m(self):\n        return self.x",
        },
        "a",
        "x = 1",
        "x = 2",
    ),
    "a decorator": (
        {
            "n": "from a import twice\n@twice\ndef g():\n    return 1\ndef f():\n    return g()",
            "a": "def twice(f):\n    return lambda: f() * 2",
        },
        "a",
        "* 2",
        "* 3",
    ),
    "a default value": (
        {"n": "K = 1\ndef f(x=K):\n    return x"},
        "n",
        "K = 1",
        "K = 2",
    ),
    "import a.b as c": (
        {"n": "import a.b as c\ndef f():\n    return c.g()", "a/__init__": "", "a.b": "def g():\n    return 1"},
        "a.b",
        "1",
        "2",
    ),
    "import a.b": (
        {"n": "import a.b\ndef f():\n    return a.b.g()", "a/__init__": "", "a.b": "def g():\n    return 1"},
        "a.b",
        "1",
        "2",
    ),
    "a package taken by another name": (
        {"n": "import a.b\nm = a\ndef f():\n    return m.b.g()", "a/__init__": "", "a.b": "def g():\n    return 1"},
        "a.b",
        "1",
        "2",
    ),
    "a relative import in a package": (
        {
            "n": "from p.a import g\ndef f():\n    return g()",
            "p/__init__": "",
            "p.a": "from .b import h\ndef g():\n    return h()",
            "p.b": "def h():\n    return 1",
        },
        "p.b",
        "1",
        "2",
    ),
    "a relative import of a module": (
        {
            "n": "from p.a import g\ndef f():\n    return g()",
            "p/__init__": "",
            "p.a": "from . import b\ndef g():\n    return b.h()",
            "p.b": "def h():\n    return 1",
        },
        "p.b",
        "1",
        "2",
    ),
    "a name that a package hands on": (
        {
            "n": "from p import h\ndef f():\n    return h()",
            "p/__init__": "from .b import h",
            "p.b": "def h():\n    return 1",
        },
        "p.b",
        "1",
        "2",
    ),
    "what a package does at import": (
        {
            "n": "from p.b import h\ndef f():\n    return h()",
            "p/__init__": "import os\nos.environ['X'] = '1'",
            "p.b": "import os\ndef h():\n    return os.environ['X']",
        },
        "p/__init__",
        "'1'",
        "'2'",
    ),
    "from x import *": (
        {"n": "from a import *\ndef f():\n    return g()", "a": "def g():\n    return 1"},
        "a",
        "1",
        "2",
    ),
    "from x import * twice": (
        {"n": "from a import *\ndef f():\n    return g()", "a": "from b import *", "b": "def g():\n    return 1"},
        "b",
        "1",
        "2",
    ),
    "try/except imports, first": (
        {
            "n": "try:\n    from a import g\nexcept ImportError:\n    from b import g\ndef f():\n    return g()",
            "a": "def g():\n    return 1",
            "b": "def g():\n    return 9",
        },
        "a",
        "1",
        "2",
    ),
    "try/except imports, second": (
        {
            "n": "try:\n    from a import g\nexcept ImportError:\n    from b import g\ndef f():\n    return g()",
            "a": "def g():\n    return 1",
            "b": "def g():\n    return 9",
        },
        "b",
        "9",
        "8",
    ),
    "try/except imports of modules": (
        {
            "n": "try:\n    import a as m\nexcept ImportError:\n    import b as m\ndef f():\n    return m.g()",
            "a": "def g():\n    return 1",
            "b": "def g():\n    return 9",
        },
        "a",
        "1",
        "2",
    ),
    "imports in both arms of a function": (
        {
            "n": "def f(x):\n    if x:\n        from a import g\n    else:\n        from b import g\n    return g()",
            "a": "def g():\n    return 1",
            "b": "def g():\n    return 9",
        },
        "a",
        "1",
        "2",
    ),
    "augmented assignment": (
        {"n": "X = []\nX += [1]\ndef f():\n    return X"},
        "n",
        "[1]",
        "[2]",
    ),
    "an entry set": (
        {"n": "C = {}\nC['a'] = 1\ndef f():\n    return C"},
        "n",
        "= 1",
        "= 2",
    ),
    "an entry set through another name": (
        {"n": "C = {}\nD = C\nD['a'] = 1\ndef f():\n    return C"},
        "n",
        "= 1",
        "= 2",
    ),
    "an attribute of a module set": (
        {"n": "import a\na.K = 1\ndef f():\n    return a.g()", "a": "K = 0\ndef g():\n    return K"},
        "n",
        "= 1",
        "= 2",
    ),
    "an attribute of a module set through another name": (
        {"n": "import a\nb = a\nb.K = 1\ndef f():\n    return a.g()", "a": "K = 0\ndef g():\n    return K"},
        "n",
        "= 1",
        "= 2",
    ),
    "an attribute set by setattr": (
        {"n": "import a\nsetattr(a, 'K', 1)\ndef f():\n    return a.g()", "a": "K = 0\ndef g():\n    return K"},
        "n",
        "1",
        "2",
    ),
    "an imported name bound anew": (
        {
            "n": "from a import g\nfrom b import wrap\ng = wrap(g)\ndef f():\n    return g()",
            "a": "def g():\n    return 1",
            "b": "def wrap(x):\n    return x",
        },
        "a",
        "1",
        "2",
    ),
    "an imported name redefined under a condition": (
        {
            "n": "import os\nfrom a import g\nif os.name == 'x':\n    def g():\n        return 0\ndef f():\n    return g()",
            "a": "def g():\n    return 1",
        },
        "a",
        "1",
        "2",
    ),
    "a conditional definition": (
        {
            "n": "import sys\nif sys.maxsize:\n    def g():\n        return 1\nelse:\n    def g():\n        return 2\ndef f():\n    return g()"
        },
        "n",
        "return 1",
        "return 3",
    ),
    "globals()": (
        {"n": "def g():\n    return 1\ndef f():\n    return globals()['g']()"},
        "n",
        "return 1",
        "return 2",
    ),
    "a module by getattr": (
        {"n": "import a\ndef f(name):\n    return getattr(a, name)()", "a": "def g():\n    return 1"},
        "a",
        "1",
        "2",
    ),
    "a name handed on, by getattr": (
        {
            "n": "import p\ndef f(name):\n    return getattr(p, name)()",
            "p/__init__": "from .b import g",
            "p.b": "def g():\n    return 1",
        },
        "p.b",
        "1",
        "2",
    ),
    "a module by import_module": (
        {"n": "import importlib\ndef f():\n    return importlib.import_module('a').g()", "a": "def g():\n    return 1"},
        "a",
        "1",
        "2",
    ),
    "a module by import_module, taken by name": (
        {
            "n": "from importlib import import_module\ndef f():\n    return import_module('a').g()",
            "a": "def g():\n    return 1",
        },
        "a",
        "1",
        "2",
    ),
    "an import inside the function": (
        {"n": "def f():\n    from a import g\n    return g()", "a": "def g():\n    return 1"},
        "a",
        "1",
        "2",
    ),
    "import a.b inside the function": (
        {"n": "def f():\n    import a.b\n    return a.b.g()", "a/__init__": "", "a.b": "def g():\n    return 1"},
        "a.b",
        "1",
        "2",
    ),
    "modules that import each other": (
        {
            "n": "import a\ndef f():\n    return a.g()",
            "a": "import b\nK = 1\ndef g():\n    return b.h()",
            "b": "import a\ndef h():\n    return a.K",
        },
        "a",
        "K = 1",
        "K = 2",
    ),
    "a registry filled by decorators": (
        {
            "n": "R = {}\ndef register(g):\n    R[g.__name__] = g\n    return g\n@register\ndef g():\n    return 1\ndef f():\n    return R['g']()"
        },
        "n",
        "return 1",
        "return 2",
    ),
    "a registry filled by another module": (
        {
            "n": "from r import R\nimport a\ndef f():\n    return R['g']()",
            "r": "R = {}\ndef register(g):\n    R[g.__name__] = g\n    return g",
            "a": "from r import register\n@register\ndef g():\n    return 1",
        },
        "a",
        "return 1",
        "return 2",
    ),
    "a registry filled by an assigned call": (
        {"n": "R = []\ndef add(x):\n    R.append(x)\n    return x\nA = add(1)\ndef f():\n    return R"},
        "n",
        "add(1)",
        "add(2)",
    ),
    "a registry filled by subclassing": (
        {
            "n": "class B:\n    kinds = []\n    def __init_subclass__(cls):\n        B.kinds.append(cls)\nclass C(B):\n    x = 1\ndef f():\n    return [k.x for k in B.kinds]"
        },
        "n",
        "x = 1",
        "x = 2",
    ),
    "subclasses found by __subclasses__": (
        {"n": "class B:\n    pass\nclass C(B):\n    x = 1\ndef f():\n    return [k.x for k in B.__subclasses__()]"},
        "n",
        "x = 1",
        "x = 2",
    ),
    "singledispatch": (
        {
            "n": "from functools import singledispatch\n@singledispatch\ndef g(x):\n    return 0\n@g.register\ndef _(x: int):\n    return 1\ndef f(x):\n    return g(x)"
        },
        "n",
        "return 1",
        "return 2",
    ),
    "singledispatch, the case has a name": (
        {
            "n": "from functools import singledispatch\n@singledispatch\ndef g(x):\n    return 0\n@g.register\ndef for_int(x: int):\n    return 1\ndef f(x):\n    return g(x)"
        },
        "n",
        "return 1",
        "return 2",
    ),
    "a module's __getattr__": (
        {"n": "import a\ndef f():\n    return a.anything", "a": "def __getattr__(name):\n    return 1"},
        "a",
        "1",
        "2",
    ),
    "a name from a module's __getattr__": (
        {"n": "from a import anything\ndef f():\n    return anything", "a": "def __getattr__(name):\n    return 1"},
        "a",
        "1",
        "2",
    ),
    "a walrus": ({"n": "A = (B := 1)\ndef f():\n    return B"}, "n", "1", "2"),
    "a name bound by a with": (
        {"n": "import io\nwith io.StringIO('1') as s:\n    B = s.read()\ndef f():\n    return B"},
        "n",
        "'1'",
        "'2'",
    ),
    "unpacking": ({"n": "(A, [B, *C]) = 1, [2, 3]\ndef f():\n    return C"}, "n", "3", "4"),
    "a name deleted and bound": ({"n": "A = 1\ndel A\nA = 2\ndef f():\n    return A"}, "n", "A = 2", "A = 3"),
    "match at the top": (
        {"n": "match 1:\n    case B:\n        pass\ndef f():\n    return B"},
        "n",
        "match 1",
        "match 2",
    ),
    "a comprehension's iterable": ({"n": "K = [1]\nL = [x for x in K]\ndef f():\n    return L"}, "n", "[1]", "[2]"),
    "an annotation with a default of a dataclass": (
        {
            "n": "from dataclasses import dataclass\nK = 1\n@dataclass\nclass C:\n    x: int = K\ndef f():\n    return C().x"
        },
        "n",
        "K = 1",
        "K = 2",
    ),
    "a module passed as a value": (
        {"n": "import a\ndef call(m):\n    return m.g()\ndef f():\n    return call(a)", "a": "def g():\n    return 1"},
        "a",
        "1",
        "2",
    ),
    "a submodule taken from a package passed as a value": (
        {
            "n": "import a.b\ndef call(m):\n    return m.b.g()\ndef f():\n    return call(a)",
            "a/__init__": "",
            "a.b": "def g():\n    return 1",
        },
        "a.b",
        "1",
        "2",
    ),
    "a submodule that somebody else imported": (
        {
            "n": "import a\nimport c\ndef f():\n    return a.b.g()",
            "c": "import a.b",
            "a/__init__": "",
            "a.b": "def g():\n    return 1",
        },
        "a.b",
        "1",
        "2",
    ),
    "what a star import does at import": (
        {"n": "from a import *\ndef f():\n    return 1", "a": "import os\nos.environ['X'] = '1'"},
        "a",
        "'1'",
        "'2'",
    ),
}


@pytest.mark.parametrize("case", HIT)
def test_an_edit_of_what_is_reached_changes_the_digest(case: str) -> None:
    modules, module, old, new = HIT[case]
    assert changes(modules, module, old, new)
