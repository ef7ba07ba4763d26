"""What every executor does alike."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy
import pytest

from tests.executors.conftest import Bench
from wfe.engine.executor import Raised, Returned, Skipped
from wfe.engine.hole import Hole


def test_returns_json_values(bench: Bench) -> None:
    bench.write(
        "a",
        "def f(x, y=2): return {'s': [x, y, None, True, 'é\\ud800'], 't': (1, 2), 'n': [float('nan'), float('inf')]}",
    )
    reply = bench.call("f", inputs={"x": 1})
    assert isinstance(reply, Returned), reply
    assert reply.value["s"] == [1, 2, None, True, "é\ud800"]
    assert reply.value["t"] == [1, 2]
    assert math.isnan(reply.value["n"][0]) and reply.value["n"][1] == math.inf
    assert reply.seconds >= 0


def test_a_path_and_an_output(bench: Bench) -> None:
    source, target = bench.root / "in.txt", bench.root / "out.txt"
    source.write_text("hello")
    bench.write(
        "a",
        "from pathlib import Path\nimport wfe\n"
        "def f(p, o):\n"
        "    assert isinstance(p, Path) and isinstance(o, wfe.Output)\n"
        "    o.write_text(p.read_text().upper())\n"
        "    return {'file': o, 'text': str(o), 'n': 1}\n",
    )
    holes = (Hole(("p",), "path", str(source)), Hole(("o",), "output", str(target)))
    reply = bench.call("f", inputs={"p": None, "o": None}, holes=holes)
    assert isinstance(reply, Returned), reply
    assert target.read_text() == "HELLO"
    assert reply.value == {"file": None, "text": None, "n": 1}
    assert set(reply.holes) == {Hole(("file",), "file", str(target)), Hole(("text",), "file", str(target))}


def test_bytes_become_a_file(bench: Bench) -> None:
    bench.write("a", "def f(b=None): return {'b': b'\\0ab' if b is None else b + b'!'}")
    reply = bench.call("f")
    assert isinstance(reply, Returned), reply
    (hole,) = reply.holes
    assert hole.codec == "bytes" and Path(hole.path).read_bytes() == b"\0ab"
    again = bench.root / "again"
    again.mkdir()
    reply = bench.call("f", inputs={"b": None}, holes=(Hole(("b",), "bytes", hole.path),), staging=str(again))
    assert isinstance(reply, Returned)
    assert Path(reply.holes[0].path).read_bytes() == b"\0ab!"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("{'a': [1, {2}]}", ["'a[1]'", "set", "sorted"]),
        ("{'a': {1: 2}}", ["'a'", "key 1", "str keys"]),
        ("{'a': object()}", ["'a'", "object", "JSON values"]),
        ("(x for x in [])", ["generator", "list(value)"]),
        ("loop()", ["contains itself"]),
        ("deep()", ["200 levels"]),
        ("__import__('pathlib').Path('/nowhere')", ["/nowhere", "no output file"]),
        ("{'big': 10**5000}", ["'big'", "digits"]),
    ],
)
def test_refuses_what_cannot_travel(bench: Bench, expression: str, words: list[str]) -> None:
    bench.write(
        "a",
        "def loop():\n    x = []\n    x.append(x)\n    return x\n"
        "def deep():\n    x = 1\n    for _ in range(5000): x = [x]\n    return {'d': x}\n"
        f"def f(): return {expression}\n"
        "def after(): return 1\n",
    )
    reply = bench.call("f")
    assert isinstance(reply, Raised), reply
    assert reply.kind == "output"
    for word in words:
        assert word in reply.message
    assert bench.call("after").value == 1  # type: ignore[union-attr]


def test_an_exception_arrives_with_its_text_and_source(bench: Bench) -> None:
    bench.write(
        "a",
        "class Odd(ValueError):\n"
        "    def __init__(self, a, b): super().__init__(a); self.stuck = lambda: b\n"
        "def inner(): raise Odd('too hot', 2)\n"
        "def f():\n"
        "    inner()  # the line to see\n",
    )
    reply = bench.call("f")
    assert isinstance(reply, Raised), reply
    assert (reply.kind, reply.message) == ("Odd", "too hot")
    assert reply.bases == ("Odd", "ValueError", "Exception", "BaseException")
    assert "inner()  # the line to see" in reply.traceback
    assert f"wfe{os.sep}worker.py" not in reply.traceback
    assert reply.traceback.count("File ") == 2


def test_an_exception_whose_text_raises(bench: Bench) -> None:
    bench.write(
        "a", "class E(Exception):\n    def __str__(self): raise KeyError(1)\ndef f(): raise E()\ndef g(): return 1"
    )
    reply = bench.call("f")
    assert isinstance(reply, Raised) and reply.kind == "E"
    assert bench.call("g").value == 1  # type: ignore[union-attr]


def test_a_module_that_fails_to_import(bench: Bench) -> None:
    bench.write("a", "import no_such_thing_at_all\ndef f(): pass")
    reply = bench.call("f")
    assert isinstance(reply, Raised), reply
    assert reply.kind == "ModuleNotFoundError" and "no_such_thing_at_all" in reply.message
    assert "ImportError" in reply.bases
    assert "import no_such_thing_at_all" in reply.traceback
    assert "worker.py" not in reply.traceback


def test_a_module_is_tried_again_when_it_was_mended(bench: Bench) -> None:
    bench.write("a", "def f(: pass")
    reply = bench.call("f")
    assert isinstance(reply, Raised) and reply.kind == "SyntaxError"
    bench.write("a", "def f(): return 5")
    assert bench.call("f", code="v2").value == 5  # type: ignore[union-attr]


def test_skip(bench: Bench) -> None:
    bench.write("a", "import wfe\ndef f(): raise wfe.Skip('no camera')")
    reply = bench.call("f")
    assert isinstance(reply, Skipped) and reply.reason == "no camera"


def test_a_refusal_is_a_failure_without_a_traceback(bench: Bench) -> None:
    bench.write("a", "import wfe\nclass Odd(wfe.Refuse): pass\ndef f(): raise Odd('cat.txt: is no picture')")
    reply = bench.call("f")
    assert isinstance(reply, Raised), reply
    assert (reply.kind, reply.message, reply.traceback) == ("refused", "cat.txt: is no picture", "")
    assert reply.bases[:3] == ("Odd", "Refuse", "ValueError")  # what `retries` may name


def test_sys_exit_is_a_failure(bench: Bench) -> None:
    bench.write("a", "import sys\ndef f(): sys.exit(3)\ndef g(): return 1")
    reply = bench.call("f")
    assert isinstance(reply, Raised) and reply.kind == "SystemExit" and "3" in reply.message
    assert bench.call("g").value == 1  # type: ignore[union-attr]


def test_prints_go_to_the_log_and_to_the_listener(bench: Bench) -> None:
    bench.write(
        "a",
        "import sys\ndef f():\n    print('to out')\n    print('to err', file=sys.stderr)\n    print('open', end='')",
    )
    assert isinstance(bench.call("f"), Returned)
    assert sorted(bench.lines()) == ["open", "to err", "to out"]
    text = bench.log.read_text()
    assert "to out\n" in text and "to err\n" in text and "open" in text


def test_no_print_no_log(bench: Bench) -> None:
    bench.write("a", "def f(): pass")
    bench.call("f")
    assert not bench.log.exists()


def test_prints_are_added_to_the_log(bench: Bench) -> None:
    bench.write("a", "def f(): print('once more')")
    bench.log.write_text("an earlier attempt\n")
    bench.call("f")
    assert bench.log.read_text() == "an earlier attempt\nonce more\n"


def test_progress_and_notes(bench: Bench) -> None:
    bench.write(
        "a", "import wfe\ndef f():\n    for i in range(1000): wfe.progress(i + 1, 1000)\n    wfe.log('half way')"
    )
    bench.call("f")
    progress = [content for kind, content in bench.heard if kind == "progress"]
    assert progress[-1] == {"done": 1000, "total": 1000, "note": ""}
    assert ("note", {"message": "half way"}) in bench.heard


def test_the_surroundings_are_put_back(bench: Bench) -> None:
    bench.write(
        "a",
        "import os, sys, tempfile\n"
        "def look(): return [os.getcwd(), sys.path, sorted(os.environ.items()), sys.stdout.closed]\n"
        "def spoil():\n"
        "    os.chdir(tempfile.gettempdir())\n"
        "    os.environ['NEW'] = '1'\n    os.environ.pop('PATH')\n    os.environ['HOME'] = 'x'\n"
        "    sys.path.append('/x')\n    sys.path = []\n    os.environ = {}\n",
    )
    before = bench.call("look")
    assert isinstance(before, Returned)
    assert isinstance(bench.call("spoil"), Returned)
    after = bench.call("look")
    assert isinstance(after, Returned)
    assert after.value == before.value


def test_a_call_stands_in_the_root_and_this_process_where_it_stood(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    bench.write("a", "import os\ndef f(): return os.path.samefile('.', os.environ['ROOT'])")
    assert bench.call("f", environ={"ROOT": str(bench.root)}).value is True  # type: ignore[union-attr]
    assert Path.cwd().samefile(elsewhere)


def test_variables_and_slots_last_for_the_call(bench: Bench) -> None:
    bench.write("a", "import os, wfe\ndef f(): return [os.environ.get('WFE_T'), wfe.device('gpu'), wfe.device('npu')]")
    assert bench.call("f", environ={"WFE_T": "1"}, slots={"gpu": [3]}).value == ["1", 3, None]  # type: ignore[union-attr]
    assert bench.call("f").value == [None, None, None]  # type: ignore[union-attr]


def test_a_seed_makes_random_repeat_and_does_not_last(bench: Bench) -> None:
    bench.write("a", "import random\ndef f(): return [random.random() for _ in range(3)]")
    first, second = bench.call("f", seed=7), bench.call("f", seed=7)
    assert isinstance(first, Returned) and isinstance(second, Returned)
    assert first.value == second.value
    third, fourth = bench.call("f", seed=7), bench.call("f")
    assert third.value == first.value  # type: ignore[union-attr]
    assert fourth.value != first.value  # type: ignore[union-attr]


def test_all_bits_of_a_seed_count(with_numpy: Bench) -> None:
    with_numpy.write("a", "import numpy as np\ndef f(): return int(np.random.randint(2**31))")
    seeds = [7, 7 + 2**32, 7 + 2**64, -(2**40)]
    values = [with_numpy.call("f", seed=seed).value for seed in (*seeds, *seeds)]  # type: ignore[union-attr]
    assert values[:4] == values[4:] and len(set(values)) == 4


def test_changed_code_is_not_served_by_what_was_imported(bench: Bench) -> None:
    # The same size and, most likely, the same second: byte code files would take the old for the new.
    bench.write("helper", "K = 1\n")
    bench.write("a", "from nodes.helper import K\ndef f(): return K\ndef g(): return K")
    assert bench.call("f", code="f1").value == 1  # type: ignore[union-attr]
    bench.write("helper", "K = 2\n")
    assert bench.call("g", code="g2").value == 2  # type: ignore[union-attr]
    assert bench.call("f", code="f2").value == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("folder", ["venvs", "lib/python_tools", "venv2/lib"])
def test_nor_in_a_folder_that_is_called_like_an_environment(bench: Bench, folder: str) -> None:
    """Its modules were read from byte code, which a second and a size tell from others."""
    dotted = folder.replace("/", ".")
    bench.write("a", f"from nodes.{dotted}.helper import K\ndef f(): return K\ndef g(): return K")
    for name, value in (("f", 1), ("g", 2)):
        bench.write(f"{folder}/helper", f"K = {value}\n")
        os.utime(bench.root / "nodes" / folder / "helper.py", (1e9, 1e9))
        assert bench.call(name, code=f"{name}{value}").value == value  # type: ignore[union-attr]
    assert not list((bench.root / "nodes" / folder).rglob("*.pyc"))


def test_functions_of_one_module_with_digests_of_their_own_share_a_worker(bench: Bench) -> None:
    bench.write("a", "import os\nmade = []\ndef f():\n    made.append(1)\n    return [os.getpid(), len(made)]\ng = f")
    first = bench.call("f", code="f1").value  # type: ignore[union-attr]
    assert bench.call("g", code="g1").value == [first[0], 2]  # type: ignore[union-attr]


def test_a_module_made_after_the_first_call_is_found(bench: Bench) -> None:
    bench.write("a", "def f(): return 1")
    bench.call("f")
    bench.write("late", "def f(): return 2")
    assert bench.call("f", module="late").value == 2  # type: ignore[union-attr]


def test_a_large_tree(bench: Bench) -> None:
    bench.write("a", "def f(x): return {'y': x, 'z': 'ab' * 3_000_000}")
    tree = [{"k": float(i)} for i in range(50_000)]
    reply = bench.call("f", inputs={"x": tree})
    assert isinstance(reply, Returned)
    assert reply.value["y"] == tree and len(reply.value["z"]) == 6_000_000


def test_after_cancel_nothing_runs(bench: Bench) -> None:
    bench.write("a", "def f(): return 1")
    bench.executor.cancel()
    bench.executor.cancel()
    assert bench.call("f").kind == "cancelled"  # type: ignore[union-attr]
    bench.executor.close()
    bench.executor.close()


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4), (3,)])
def test_arrays_by_staging(with_numpy: Bench, shape: tuple[int, ...]) -> None:
    bench = with_numpy
    bench.write(
        "a",
        f"import numpy\ndef f(): return {{'a': numpy.arange(numpy.prod({shape}, dtype=int)).reshape({shape})}}\n"
        "def g(a):\n"
        "    assert not a.flags.writeable\n"
        "    return {'type': type(a).__name__, 'a': a * 2, 'sum': a.sum()}\n",
    )
    first = bench.call("f")
    assert isinstance(first, Returned), first
    again = bench.root / "again"
    again.mkdir()
    hole = Hole(("a",), "npy", first.holes[0].path)
    second = bench.call("g", inputs={"a": None}, holes=(hole,), staging=str(again))
    assert isinstance(second, Returned), second
    assert second.value["type"] == "ndarray"
    if shape != ():
        numpy.testing.assert_array_equal(numpy.load(second.holes[0].path), numpy.load(hole.path) * 2)


def test_arrays_from_memory(with_numpy: Bench) -> None:
    bench = with_numpy
    bench.write("a", "def f(a, n):\n    assert not a.flags.writeable\n    return {'b': a * n, 'same': a, 'n': n}")
    for turn in range(5):
        array = numpy.asfortranarray(numpy.arange(200_000.0).reshape(400, 500)) + turn
        reply = bench.call("f", inputs={"a": None, "n": 2}, arrays={("a",): array[::2]}, staging="")
        assert isinstance(reply, Returned), reply
        whole = reply.whole()
        numpy.testing.assert_array_equal(whole["b"], array[::2] * 2)
        numpy.testing.assert_array_equal(whole["same"], array[::2])
        assert not whole["b"].flags.writeable


def test_an_array_of_memory_that_the_function_keeps_does_not_change(with_numpy: Bench) -> None:
    bench = with_numpy
    bench.write("a", "kept = []\ndef f(a):\n    kept.append(a[1:])\n    return [float(k.sum()) for k in kept]")
    for turn in range(1, 4):
        reply = bench.call("f", inputs={"a": None}, arrays={("a",): numpy.full(1001, float(turn))}, staging="")
        assert isinstance(reply, Returned), reply
        assert reply.value == [1000.0 * k for k in range(1, turn + 1)]


def test_numpy_scalars_and_arrays_that_cannot_be_written(with_numpy: Bench) -> None:
    bench = with_numpy
    bench.write(
        "a",
        "import numpy as np\n"
        "def f(): return [np.float32(0.5), np.int64(3), np.bool_(True), np.str_('x'), np.float64('nan')]\n"
        "def g(): return {'o': np.array([object()])}\n"
        "def h(): return {'m': np.ma.masked_array([1, 2], [0, 1])}\n"
        "def d(): return {'t': np.datetime64('2020-01-01')}\n"
        "class Metres(np.ndarray): pass\n"
        "def m(): return {'m': np.zeros(2).view(Metres)}\n"
        "def r(): return {'m': np.rec.array([(1, 2.0)], dtype=[('a', int), ('b', float)])}\n",
    )
    reply = bench.call("f")
    assert isinstance(reply, Returned), reply
    assert reply.value[:4] == [0.5, 3, True, "x"] and math.isnan(reply.value[4])
    expected = {"g": "Python objects", "h": "mask", "d": "datetime64", "m": "Metres", "r": "numpy.recarray"}
    for function, words in expected.items():
        refused = bench.call(function)
        assert isinstance(refused, Raised) and refused.kind == "output" and words in refused.message, refused
