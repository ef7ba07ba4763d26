"""What writing a node costs beside the model: gates and trial, with a server that answers at once.

    python tests/bench/agent.py [ROUNDS]

Each round writes one node anew against a scripted server that speaks the model server's protocol over loopback, so that its
time is the overhead alone. Compared in the same run with a bare start of Python that imports nothing, the least that any
trial in a process of its own could cost. Medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "agent"))

from answers import GOOD
from ollama_server import in_turn, serving

from wfe.agent import prompt
from wfe.agent.author import Desk, WrittenState, write_node
from wfe.agent.events import AgentEvent, Judged
from wfe.agent.gate import Site
from wfe.agent.ollama_model import OllamaModel
from wfe.agent.sandbox import KINDS
from wfe.agent.tries import Bench


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(rounds: int) -> None:
    """Print the table."""
    bare = statistics.median(
        timed(lambda: subprocess.run([sys.executable, "-I", "-c", ""], check=True)) for _ in range(rounds)
    )
    print(f"{'case':34} {'median s':>9} {'x bare Python':>14}")
    print(f"{'bare start of Python':34} {bare:9.3f} {1.0:14.1f}")
    case = next(one for one in GOOD if one.name == "good_plain")
    with tempfile.TemporaryDirectory() as folder, serving(in_turn(case.reply())) as server:
        for box in (kind for kind in KINDS if not kind.missing()):
            project = Path(folder) / box.name
            project.mkdir()
            heard: list[AgentEvent] = []
            desk = Desk(
                OllamaModel(host=server.host),
                prompt.load(project),
                Site(project, Path(folder) / "tools"),
                Bench(project, Path(folder) / "trials", box),
                heard.append,
            )
            write_node(case.spec, desk)  # warm: mypy's cache, the list of distributions

            def anew(desk: Desk = desk) -> None:
                written = write_node(replace(case.spec, purpose=f"{time.perf_counter_ns()}"), desk)
                assert written.state is WrittenState.KEPT

            heard.clear()
            whole = statistics.median(timed(anew) for _ in range(rounds))
            print(f"{'one node, ' + box.name:34} {whole:9.3f} {whole / bare:14.1f}")
            for gate in dict.fromkeys(event.gate for event in heard if isinstance(event, Judged)):
                taken = [event.seconds for event in heard if isinstance(event, Judged) and event.gate == gate]
                label = "trial in the sandbox (3 gates)" if gate == "proof" else gate
                print(f"{'    ' + label:34} {statistics.median(taken):9.3f} {statistics.median(taken) / bare:14.1f}")
            write_node(case.spec, desk)
            before = len(server.requests)
            done = statistics.median(timed(lambda: write_node(case.spec, desk)) for _ in range(rounds))
            asked = len(server.requests) - before
            print(f"{'    the same again, current':34} {done:9.4f} {done / bare:14.2f}   {asked} requests")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
