# ruff: noqa: E501 (the table holds one module a line)
"""What a module does to others when it is imported: registrations, patches, settings, and modules named in texts."""

from __future__ import annotations

import pytest
from reaching import changes

ADD = "def add(t, v):\n    t.append(v)\n    return v\nT = []\n"
MODEL = "class M:\n    def g(self): return 1\n"
USE = "\ndef f(): return M().g()"
SEEN = "class S:\n    def __init__(self): self.n = []\n    def %s(self, *a): self.n.append(1)\nO = S()\nA = 1\ndef f(): return O.n"
IN_CLASS = "class C:\n    %s\ndef add(v): C.t.append(v)\nA = add(1)\ndef f(): return C.t"

# (modules, where, old, new)
HIT = {
    "a table given to a decorator": ({"n": "def register(t, k):\n    def deco(g):\n        t[k] = g\n        return g\n    return deco\nT = {}\n@register(T, 'a')\ndef fa(): return 1\ndef f(): return T['a']()"}, "n", "return 1", "return 2"),
    "a table given to an assigned call": ({"n": ADD + "A = add(T, 1)\ndef f(): return T"}, "n", "(T, 1)", "(T, 2)"),
    "a table given to a decorator of a class": ({"n": "def register(t):\n    return lambda c: t.append(c.x) or c\nT = []\n@register(T)\nclass C:\n    x = 1\ndef f(): return T"}, "n", "x = 1", "x = 2"),
    "a table that a decorated class is put into": ({"n": "T = []\ndef register(c):\n    T.append(c.x)\n    return c\n@register\nclass C:\n    x = 1\ndef f(): return T"}, "n", "x = 1", "x = 2"),
    "a function given to map": ({"n": "R = []\ndef add(v):\n    R.append(v)\nD = list(map(add, [1, 2]))\ndef f(): return R"}, "n", "2]", "3]"),
    "a class patched by a decorator": ({"n": MODEL + "def replaces(c, name):\n    def deco(g):\n        setattr(c, name, g)\n        return g\n    return deco\n@replaces(M, 'g')\ndef better(self): return 5" + USE}, "n", "return 5", "return 6"),
    "a class patched by a decorator that reads annotations": ({"n": MODEL + "def patch(g):\n    setattr(next(iter(g.__annotations__.values())), g.__name__, g)\n    return g\n@patch\ndef g(self: M): return 5" + USE}, "n", "return 5", "return 6"),
    "a class patched by an assigned call": ({"n": "import q\nfrom h import M\ndef f(): return M().g()", "h": MODEL, "q": "from h import M\ndef patch(v):\n    M.g = lambda self: v\nD = patch(5)"}, "q", "(5)", "(6)"),
    "a class changed through another name": ({"n": "import q\nfrom h import M\ndef f(): return M.k", "h": "class M:\n    k = 0", "q": "import h\nA = h.M\nA.k = 1"}, "q", "1", "2"),
    "a class changed by its instances": ({"n": "import q\nfrom h import P\ndef f(): return P.last", "h": "class P:\n    last = 0\n    def __init__(self, v): type(self).last = v", "q": "from h import P\nX = P(1)"}, "q", "1", "2"),
    "a function of a module set by a function": ({"n": "import h, q\ndef f(): return h.g()", "h": "def g(): return 0", "q": "import h\ndef go(v): h.g = lambda: v\nX = go(1)"}, "q", "go(1)", "go(2)"),
    "a name of a module set by its __dict__": ({"n": "import h, q\ndef f(): return h.K", "h": "K = 0", "q": "import h\ndef go(v): h.__dict__['K'] = v\nX = go(1)"}, "q", "go(1)", "go(2)"),
    "a name of a module set by setattr in a function": ({"n": "import h, q\ndef f(): return h.K", "h": "K = 0", "q": "import h\ndef go(v): setattr(h, 'K', v)\nX = go(1)"}, "q", "go(1)", "go(2)"),
    "a module given to a call of a third party": ({"n": "import h, q\ndef f(): return h.g()", "h": "def g(): return 0", "q": "import lib, h\nX = lib.wrap(h, 'g', 1)"}, "q", "1", "2"),
    "a class given to a call of a third party": ({"n": "import q\nfrom h import M\ndef f(): return M()", "h": MODEL, "q": "from h import M\nfrom functools import total_ordering\nX = total_ordering(M), 1"}, "q", "1", "2"),
    "a decorator with the name of a builtin": ({"n": "T = {}\ndef filter(g):\n    T[g.__name__] = g\n    return g\n@filter\ndef up(s): return 1\ndef f(): return T['up'](0)"}, "n", "return 1", "return 2"),
    "an imported decorator with the name of a builtin": ({"n": "from r import T, format\n@format\ndef up(s): return 1\ndef f(): return T['up'](0)", "r": "T = {}\ndef format(g):\n    T[g.__name__] = g\n    return g"}, "n", "return 1", "return 2"),
    "a decorator with the name of a builtin by a star": ({"n": "from r import *\n@format\ndef up(s): return 1\ndef f(): return T['up'](0)", "r": "T = {}\ndef format(g):\n    T[g.__name__] = g\n    return g"}, "n", "return 1", "return 2"),
    "a decorator in a class": ({"n": 'R = []\nD = [R]\nDD = [D]\nclass K:\n    def add(fn):\n        R.append(fn(0))\n        return fn\n    @add\n    def first(x): return 1\ndef f(): return R'}, "n", 'return 1', 'return 2'),
    "a call of a function of a class in it": ({"n": 'R = []\nD = [R]\nDD = [D]\nclass K:\n    def reg(x): R.append(x)\n    reg(1)\ndef f(): return R'}, "n", 'reg(1)', 'reg(2)'),
    "another name in a class": ({"n": 'R = []\nD = [R]\nDD = [D]\nclass K:\n    q = R\n    q.append(1)\ndef f(): return R'}, "n", '(1)', '(2)'),
    "an item by another name in a class": ({"n": 'R = []\nD = [R]\nDD = [D]\nclass K:\n    q = R\n    q += [1]\ndef f(): return R'}, "n", '[1]', '[2]'),
    "another name in a class, given": ({"n": 'R = []\nD = [R]\nDD = [D]\nclass K:\n    q = R\n    list.append(q, 1)\ndef f(): return R'}, "n", 'q, 1', 'q, 2'),
    "a loop in a class": ({"n": 'R = []\nD = [R]\nDD = [D]\nclass K:\n    for d in D: d.append(1)\ndef f(): return R'}, "n", '(1)', '(2)'),
    "a list taken apart in a class": ({"n": 'R = []\nD = [R]\nDD = [D]\nclass K:\n    q, = D\n    q.append(1)\ndef f(): return R'}, "n", '(1)', '(2)'),
    "a module imported in a class": ({"n": "import h\nclass K:\n    class J:\n        import h\n        w = h.R\n        w.extend([1])\ndef f(): return h.R", "h": "R = []"}, "n", "[1]", "[2]"),
    "what a comprehension goes over": ({"n": "import q\nfrom h import R\ndef f(): return R", "h": "R = []\nD = [R]\nDD = [D]\n", "q": 'from h import R, D, DD\nX = [d.append(1) for d in D]'}, "q", '1)', '2)'),
    "what a comprehension tests": ({"n": "import q\nfrom h import R\ndef f(): return R", "h": "R = []\nD = [R]\nDD = [D]\n", "q": 'from h import R, D, DD\nX = [0 for d in D if d.append(1)]'}, "q", '1)', '2)'),
    "what a comprehension of two goes over": ({"n": "import q\nfrom h import R\ndef f(): return R", "h": "R = []\nD = [R]\nDD = [D]\n", "q": 'from h import R, D, DD\nX = [d.append(1) for e in DD for d in e]'}, "q", '1)', '2)'),
    "what a comprehension names": ({"n": "import q\nfrom h import R\ndef f(): return R", "h": "R = []\nD = [R]\nDD = [D]\n", "q": 'from h import R, D, DD\nX = [d.append(1) for d in [R]]'}, "q", '1)', '2)'),
    "what a comprehension gives to a call": ({"n": "import q\nfrom h import R\ndef f(): return R", "h": "R = []\nD = [R]\nDD = [D]\n", "q": "from h import R, D, DD\nX = [setattr(d, 'v', 1) for d in D]"}, "q", '1)', '2)'),
    "a function that a comprehension goes over": ({"n": "import q\nfrom h import R\ndef f(): return R", "h": "R = []\nD = [R]\nDD = [D]\n", "q": 'from h import R, D, DD\nX = [q(1) for q in [R.append]]'}, "q", '1)', '2)'),
    "a lambda in a comprehension": ({"n": "import q\nfrom h import R\ndef f(): return R", "h": "R = []\nD = [R]\nDD = [D]\n", "q": 'from h import R, D, DD\nX = [(lambda: d.append(1))() for d in D]'}, "q", '1)', '2)'),
    "a set comprehension": ({"n": "import q\nfrom h import R\ndef f(): return R", "h": "R = []\nD = [R]\nDD = [D]\n", "q": 'from h import R, D, DD\nX = {id(d.append(1)) for d in D}'}, "q", '1)', '2)'),
    "a subclass in a class, of a base that acts": ({"n": "R = []\nclass B:\n    def __init_subclass__(cls): R.append(cls.n)\nclass P:\n    class One(B):\n        n = 1\ndef f(): return R"}, "n", "n = 1", "n = 2"),
    "a subclass in a class, that its base is asked for": ({"n": "import q\nfrom h import B\ndef f(): return [c.n for c in B.__subclasses__()]", "h": "class B: pass", "q": "from h import B\nclass P:\n    class One(B):\n        n = 1"}, "q", "n = 1", "n = 2"),
    "an operator": ({"n": "class P:\n    def __init__(self): self.fs = []\n    def __or__(self, g):\n        self.fs.append(g)\n        return self\nPIPE = P()\ndef one(): return 1\ndef two(): return 2\nX = PIPE | one\ndef f(): return PIPE.fs"}, "n", "| one", "| two"),
    "a default of a lambda": ({"n": ADD + "A = lambda v=add(T, 1): v\ndef f(): return T"}, "n", "1)", "2)"),
    "a function that a builtin calls for an order": ({"n": "T = []\ndef add(v):\n    T.append(v)\n    return v\nA = sorted([1, 2], key=add)\ndef f(): return T"}, "n", "2]", "3]"),
    "a function that iter calls": ({"n": "T = []\ndef add():\n    T.append(1)\n    return len(T)\nA = list(iter(add, 3))\ndef f(): return T"}, "n", "3)", "4)"),
    "a length": ({"n": SEEN % "__len__"}, "n", "A = 1", "A = len(O)"),
    "a list": ({"n": SEEN % "__iter__"}, "n", "A = 1", "A = list(O)"),
    "a test": ({"n": SEEN % "__bool__"}, "n", "A = 1", "A = 1 if O else 2"),
    "a text": ({"n": SEEN % "__format__"}, "n", "A = 1", "A = f'{O}'"),
    "what is taken apart": ({"n": SEEN % "__iter__"}, "n", "A = 1", "A, *B = O"),
    "a list in a class in a class": ({"n": IN_CLASS % "class D:\n        t = []\n    t = D.t"}, "n", "(1)", "(2)"),
    "a list in a tuple of a class": ({"n": IN_CLASS % "t, u = [], 1"}, "n", "(1)", "(2)"),
    "a list of a class under a condition": ({"n": IN_CLASS % "if True:\n        t = []"}, "n", "(1)", "(2)"),
    "a list or another of a class": ({"n": IN_CLASS % "t = None or []"}, "n", "(1)", "(2)"),
    "a case of a method": ({"n": "from functools import singledispatchmethod\nclass C:\n    @singledispatchmethod\n    def g(self, x): return 0\n@C.g.register\ndef _(self, x: int): return 1\ndef f(): return C().g(1)"}, "n", "return 1", "return 2"),
    "a class that counts as a subclass": ({"n": "from abc import ABC\nclass B(ABC): pass\nX = B.register(int)\ndef f(): return isinstance(3, B)"}, "n", "(int)", "(str)"),
    "what is taken from an iterator": ({"n": "I = iter([1, 2, 3])\nA = 1\ndef f(): return list(I)"}, "n", "A = 1", "A = 2 in I"),
    "what is taken from an iterator of a library": ({"n": "import itertools\nI = itertools.chain('ab')\nA = 1\ndef f(): return list(I)"}, "n", "A = 1", "A, B = I"),
    "what is taken from a generator": ({"n": "def gen(): yield 1\nI = gen()\nA = 1\ndef f(): return list(I)"}, "n", "A = 1", "A = list(I)"),
    "what is taken from a generator expression": ({"n": "I = (v for v in 'ab')\nA = 1\ndef f(): return list(I)"}, "n", "A = 1", "A = [v for v in I]"),
    "what is taken from an iterator in a table": ({"n": "D = {'i': [iter([1])]}\nA = 1\ndef f(): return list(D['i'][0])"}, "n", "A = 1", "A = list(D['i'][0])"),
    "what is taken from an iterator of two": ({"n": "I, J = iter([1]), 2\nA = 1\ndef f(): return list(I)"}, "n", "A = 1", "A = list(I)"),
    "what is taken from one iterator or another": ({"n": "import os\nI = iter([1]) if os.name else iter([2])\nA = 1\ndef f(): return list(I)"}, "n", "A = 1", "A = list(I)"),
    "what is taken from an iterator that a function gives": ({"n": "def g(): return iter([1])\nI = g()\nA = 1\ndef f(): return list(I)"}, "n", "A = 1", "A = list(I)"),
    "what is taken from an iterator of a class": ({"n": "class C:\n    i = iter([1])\nA = 1\ndef f(): return list(C.i)"}, "n", "A = 1", "A = list(C.i)"),
    "what is taken from an iterator of an object": ({"n": "class C:\n    def __init__(self): self.i = iter([1])\nO = C()\nA = 1\ndef f(): return list(O.i)"}, "n", "A = 1", "A = list(O.i)"),
    "what is read from a table of a library": ({"n": "import csv\nR = csv.reader(['a', 'b'])\nA = 1\ndef f(): return list(R)"}, "n", "A = 1", "A = [one for one in R]"),
    "what is taken from the names in a folder": ({"n": "from pathlib import Path\nI = Path('.').glob('*')\nA = 1\ndef f(): return list(I)"}, "n", "A = 1", "A = list(I)"),
    "what is printed into a file": ({"n": "import io\nI = io.StringIO()\nA = print(1, file=I)\ndef f(): return I.getvalue()"}, "n", "(1", "(2"),
    "a name that a module gives": ({"n": "import h, q\ndef f(): return h.T", "h": "T = []\ndef __getattr__(name): T.append(name)", "q": "import h\nA = h.J"}, "q", "h.J", "h.K"),
    "a list in a default": ({"n": "def g(x=([],)): return x[0]\nA = g().append(1)\ndef f(): return g()"}, "n", "1)", "2)"),
    "a list in a default of a lambda": ({"n": "g = lambda x=[]: x\nA = g().append(1)\ndef f(): return g()"}, "n", "1)", "2)"),
    "a list in a default of a method": ({"n": "class C:\n    def g(self, x=[]): return x\nA = C().g().append(1)\ndef f(): return C().g()"}, "n", "(1)", "(2)"),
    "an item of a defaultdict": ({"n": "from collections import defaultdict\nR = defaultdict(list)\nX = R['a']\ndef f(): return sorted(R)"}, "n", "'a'", "'b'"),
    "a name in the body of a class": ({"n": "from h import ALL\nimport q\ndef f(): return ALL", "h": "ALL = []\nclass Field:\n    def __set_name__(self, o, n): ALL.append(n)\nFIELD = Field()", "q": "from h import FIELD\nclass C:\n    a = FIELD"}, "q", "a =", "b ="),
    "a global bound by a function with an argument": ({"n": "def init(v):\n    global X\n    X = v\nD = init(5)\ndef f(): return X"}, "n", "(5)", "(6)"),
    "a global with a first value bound by a function": ({"n": "X = None\ndef init(v):\n    global X\n    X = v\nD = init(5)\ndef f(): return X"}, "n", "(5)", "(6)"),
    "a global bound by a method": ({"n": "class A:\n    def s(self, v):\n        global X\n        X = v\nD = A().s(5)\ndef f(): return X"}, "n", "(5)", "(6)"),
    "a global bound by its text": ({"n": "def init(k, v): globals()[k] = v\nD = init('X', 5)\ndef f(): return X"}, "n", "5", "6"),
    "a global bound by globals, without a function": ({"n": "D = globals().update(X=5)\ndef f(): return X"}, "n", "5", "6"),
    "a global bound by exec": ({"n": "D = exec('X = 5')\ndef f(): return X"}, "n", "5", "6"),
    "a global of another module bound by exec": ({"n": "import q\nfrom h import X\ndef f(): return X", "h": "X = 0", "q": "import h\nD = exec('h.X = 5')"}, "q", "5", "6"),
    "a global bound through the module's own name": ({"n": "import importlib\nD = importlib.import_module(__name__).__dict__.update(X=5)\ndef f(): return X"}, "n", "5", "6"),
    "a call in an annotation": ({"n": "import q\nfrom h import K\ndef f(): return K", "h": "K = []\ndef add(v):\n    K.append(v)\n    return int", "q": "from h import add\ndef g(x: add(1)): pass"}, "q", "1", "2"),
    "a subclass made by type": ({"n": "class S: pass\nC = type('C', (S,), {'a': 3})\ndef f(): return [k.a for k in S.__subclasses__()]"}, "n", "3", "4"),
    "a subclass made by type, that its base collects": ({"n": "class S:\n    kinds = []\n    def __init_subclass__(cls): S.kinds.append(cls)\nC = type('C', (S,), {'a': 3})\ndef f(): return [k.a for k in S.kinds]"}, "n", "3", "4"),
    "a subclass made by a function": ({"n": "class S: pass\ndef make(n, a): return type(n, (S,), {'a': a})\nC = make('C', 3)\ndef f(): return [k.a for k in S.__subclasses__()]"}, "n", "3", "4"),
    "a class whose metaclass registers it": ({"n": "import q\nfrom r import R\ndef f(): return R", "r": "R = []\nclass M(type):\n    def __init__(cls, name, bases, body): R.append(cls.x)\n", "q": "from r import M\nclass K(metaclass=M):\n    x = 1"}, "q", "1", "2"),
    "a class whose metaclass prepares it": ({"n": "R = []\nclass M(type):\n    @classmethod\n    def __prepare__(cls, name, bases):\n        R.append(name)\n        return {}\nclass K(metaclass=M): pass\ndef f(): return R"}, "n", "class K", "class L"),
    "an import in the body of a class": ({"n": "class A:\n    from h import g\ndef f(): return A.g()", "h": "def g(): return 1"}, "h", "1", "2"),
    "an import in the body of a class under a condition": ({"n": "import os\nif os.name:\n    class A:\n        from h import g\ndef f(): return A.g()", "h": "def g(): return 1"}, "h", "1", "2"),
    "a global bound by an import": ({"n": "def load():\n    global g\n    from h import g\ndef f():\n    load()\n    return g()", "h": "def g(): return 1"}, "h", "1", "2"),
    "what a library keeps, by an assigned call": ({"n": "import decimal, q\ndef f(): return decimal.Decimal(1) / 3", "q": "import decimal\nOLD = decimal.setcontext(decimal.Context(prec=5))"}, "q", "5", "6"),
    "what a library keeps, by a function": ({"n": "import decimal, q\ndef f(): return decimal.Decimal(1) / 3", "q": "import decimal\ndef set(n): decimal.getcontext().prec = n\ndef do(n): return decimal.setcontext(n)\nOLD = do(5)"}, "q", "(5)", "(6)"),
    "what a library keeps, through a variable": ({"n": "import decimal, q\ndef f(): return decimal.Decimal(1) / 3", "q": "import decimal\nC = decimal.getcontext()\nC.prec = 5"}, "q", "5", "6"),
    "a default in the environment": ({"n": "import os\nX = os.environ.setdefault('X', '1')\ndef f(): return os.environ['X']"}, "n", "'1'", "'2'"),
    "an item in the environment, by a function": ({"n": "import os\ndef put(v): os.environ['X'] = v\nX = put('1')\ndef f(): return os.environ['X']"}, "n", "'1'", "'2'"),
    "an item in the environment, by another name": ({"n": "import os\nE = os.environ\nE['X'] = '1'\ndef f(): return os.environ['X']"}, "n", "'1'", "'2'"),
    "an item in the environment, by the name of another name": ({"n": "import os\nE = os.environ\nD = E\nD['X'] = '1'\ndef f(): return os.environ['X']"}, "n", "'1'", "'2'"),
    "an entry of a list that a library keeps, by another name": ({"n": "import sys, q\ndef f(): return sys.path[-1]", "q": "import sys\nP = sys.path\nP += ['a']"}, "q", "'a'", "'b'"),
    "items in the environment, by another name": ({"n": "import os, q\ndef f(): return os.environ['X']", "q": "import os\nE = os.environ\nE |= {'X': '1'}"}, "q", "'1'", "'2'"),
    "what a library keeps, by setattr in a function": ({"n": "import q\ndef f(): return FOO", "q": "import builtins\ndef go(v): setattr(builtins, 'FOO', v)\nX = go(1)"}, "q", "go(1)", "go(2)"),
    "what a library keeps, by another name of its function": ({"n": "import decimal, q\ndef f(): return decimal.Decimal(1) / 3", "q": "import decimal\nctx = decimal.getcontext\nX = setattr(ctx(), 'prec', 5)"}, "q", "5", "6"),
    "a name of a module set by its vars": ({"n": "import a\nD = vars(a).update(K=2)\ndef f(): return a.g()", "a": "K = 1\ndef g(): return K"}, "n", "K=2", "K=3"),
    "a handler given to a library": ({"n": "import q\ndef f(): return 'x'.encode('ascii', 'mine')", "q": "import codecs\ndef handler(e): return ('1', e.end)\nOK = codecs.register_error('mine', handler)"}, "q", "'1'", "'2'"),
    "a name bound again after a condition": ({"n": "import os\nif os.name:\n    K = 1\nK = 2\ndef f(): return K"}, "n", "K = 2", "K = 3"),
    "a submodule by getattr that another module imports": ({"n": "import p, q\ndef f(): return getattr(p, 'b').K", "q": "import p.b", "p/__init__": "", "p.b": "K = 1"}, "p.b", "1", "2"),
    "a submodule by a package's __getattr__": ({"n": "import p\ndef f(): return p.K", "p/__init__": "import importlib\nM = {'K': '.b'}\ndef __getattr__(n): return getattr(importlib.import_module(M[n], __name__), n)", "p.b": "K = 1"}, "p.b", "1", "2"),
    "a function by pydoc.locate": ({"n": "import pydoc\ndef f(): return pydoc.locate('p.b.g')()", "p/__init__": "", "p.b": "def g(): return 1"}, "p.b", "1", "2"),
    "a function by resolve_name": ({"n": "import pkgutil\ndef f(): return pkgutil.resolve_name('p.b:g')()", "p/__init__": "", "p.b": "def g(): return 1"}, "p.b", "1", "2"),
    "a program by its path": ({"n": "import subprocess\ndef f(): return subprocess.run(['python', 'tool.py'])", "tool": "print(1)"}, "tool", "1", "2"),
    "a program by its name": ({"n": "import subprocess\ndef f(): return subprocess.run(['python', '-m', 'tool'])", "tool": "print(1)"}, "tool", "1", "2"),
    "what a program does when it is started": ({"n": "import subprocess\ndef f(): return subprocess.run(['python', 'tool.py'])", "tool": "def g(v): print(v)\nif __name__ == '__main__':\n    g(1)"}, "tool", "g(1)", "g(2)"),
    "a package that is started": ({"n": "import subprocess\ndef f(): return subprocess.run(['python', '-m', 'p'])", "p/__init__": "", "p.__main__": "from p.b import g\nif __name__ == '__main__':\n    g()", "p.b": "def g(): print(1)"}, "p.b", "1", "2"),
    "a module by runpy": ({"n": "import runpy\ndef f(): return runpy.run_module('a', run_name='__main__')", "a": "if __name__ == '__main__':\n    K = 1"}, "a", "1", "2"),
    "a module by a relative name": ({"n": "import importlib\ndef f(): return importlib.import_module('.b', 'p').K", "p/__init__": "", "p.b": "K = 1"}, "p.b", "1", "2"),
    "a module by a relative name and a keyword": ({"n": "import importlib\ndef f(): return importlib.import_module('..b', package='p.q').K", "p/__init__": "", "p.b": "K = 1"}, "p.b", "1", "2"),
    "a module by __import__ and a level": ({"n": "from p.a import g\ndef f(): return g()", "p/__init__": "", "p.a": "def g(): return __import__('b', globals(), None, ['K'], 1).K", "p.b": "K = 1"}, "p.b", "1", "2"),
    "a module by __import__ and its list": ({"n": "def f(): return __import__('p', fromlist=['b']).b.K", "p/__init__": "", "p.b": "K = 1"}, "p.b", "1", "2"),
    "a function by its text, what it uses": ({"n": "import pydoc\ndef f(): return pydoc.locate('p.b.g')()", "p/__init__": "", "p.b": "K = 1\ndef g(): return K"}, "p.b", "1", "2"),
}  # fmt: skip


@pytest.mark.parametrize("case", HIT)
def test_an_edit_changes_the_digest(case: str) -> None:
    modules, module, old, new = HIT[case]
    assert changes(modules, module, old, new)


# What does nothing to what is reached, and must rebuild nothing.
MISS = {
    "a function with a decorator of the project that keeps nothing": ({"n": "from t import timed\n@timed\ndef g(): return 1\n@timed\ndef h(): return 2\ndef f(): return g()", "t": "import functools\ndef timed(g):\n    @functools.wraps(g)\n    def inner(*a): return g(*a)\n    inner.calls = 0\n    return inner"}, "n", "return 2", "return 3"),
    "a function with a library's decorator and annotations": ({"n": "from functools import lru_cache\nclass M: pass\n@lru_cache\ndef g(m: M): return 2\ndef f(): return M()"}, "n", "return 2", "return 3"),
    "another object of a plain class": ({"n": "class M:\n    def __init__(self, v): self.v = v\nA = M(1)\nB = M(2)\ndef f(): return A.v"}, "n", "M(2)", "M(3)"),
    "another object of a class with a property": ({"n": "class M:\n    w = (1, -2)\n    def __init__(self, v): self.v = v\n    @property\n    def x(self): return self.v\nA = M(1)\nB = M(2)\ndef f(): return A.x"}, "n", "M(2)", "M(3)"),
    "an item of a list made by way of an iterator": ({"n": "T = list(map(int, '123'))\nU = [v for v in T]\nA = U[0]\ndef f(): return U"}, "n", "U[0]", "U[1]"),
    "a name taken from a module with a table": ({"n": "import h, q\ndef f(): return h.T", "h": "from collections import defaultdict\nT = defaultdict(list)\nJ, K = 1, 2", "q": "import h\nA = h.J"}, "q", "h.J", "h.K"),
    "another object of an abstract class": ({"n": "from abc import ABC, abstractmethod\nclass K(ABC):\n    @abstractmethod\n    def x(self): pass\nclass M(K):\n    def __init__(self, v): self.v = v\n    def x(self): pass\nA = M(1)\nB = M(2)\ndef f(): return A.v"}, "n", "M(2)", "M(3)"),
    "another class of a plain metaclass": ({"n": "from abc import ABCMeta\nclass M(ABCMeta):\n    def __len__(cls): return 1\nclass K(metaclass=M): pass\nclass L(metaclass=M):\n    x = 1\ndef f(): return len(K)"}, "n", "x = 1", "x = 2"),
    "another constant made by a function": ({"n": "K = 3\ndef make(v): return v * K\nA = make(1)\nB = make(2)\ndef f(): return A, K"}, "n", "make(2)", "make(7)"),
    "a constant made from a path": ({"n": "from pathlib import Path\nROOT = Path('a')\nA = ROOT / 'b'\nB = ROOT / 'c'\ndef f(): return A"}, "n", "'c'", "'d'"),
    "an item of a plain table": ({"n": "T = {'a': 1, 'b': 2}\nX = T['a']\ndef f(): return T"}, "n", "T['a']", "T['b']"),
    "a copy of a list": ({"n": "T = [1]\nX = sorted(T)\ndef f(): return T"}, "n", "sorted(T)", "list(T)"),
    "another number of a module that is changed": ({"n": "from h import K\ndef f(): return K", "h": "K = 1\nN = 2\nN += 1"}, "h", "N += 1", "N += 2"),
    "an array of a library": ({"n": "import numpy as np\nA = np.array([1])\nB = np.array([2])\ndef f(): return np.sum(A)"}, "n", "[2]", "[3]"),
    "a registry that is not used": ({"n": ADD + "A = add(T, 1)\ndef f(): return 1"}, "n", "(T, 1)", "(T, 2)"),
    "an import in the body of a class that is not used": ({"n": "class A:\n    from h import g\ndef f(): return 1", "h": "def g(): return 1"}, "h", "1", "2"),
    "another function of a module named in a text": ({"n": "import pydoc\ndef f(): return pydoc.locate('p.b.g')()", "p/__init__": "", "p.b": "def g(): return 1\ndef h(): return 2"}, "p.b", "2", "3"),
    "a program that is not run": ({"n": "def f(): return 'tool'", "tool": "print(1)"}, "tool", "1", "2"),
    "an object made from another by a library": ({"n": "from dataclasses import dataclass, replace\n@dataclass\nclass M:\n    x: int\nA = M(1)\nB = replace(A, x=2)\ndef f(): return 1"}, "n", "x=2", "x=3"),
    "a decorator that keeps the name of a function": ({"n": "from functools import update_wrapper\ndef timed(inner):\n    return update_wrapper(lambda: inner(), inner)\n@timed\ndef g(): return 1\n@timed\ndef h(): return 2\ndef f(): return g()"}, "n", "return 2", "return 3"),
    "a method that overrides": ({"n": "from typing import override\nclass A:\n    @override\n    def m(self): return 2\ndef f(): return 1"}, "n", "return 2", "return 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISS)
def test_an_edit_changes_nothing(case: str) -> None:
    modules, module, old, new = MISS[case]
    assert not changes(modules, module, old, new)
