"""Each restriction of each sandbox, by trying to break it from inside."""

# ruff: noqa: E501 - programs as texts
from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wfe.agent import sandbox as sandboxes
from wfe.agent.gateway import gateway, permitted
from wfe.agent.jail import landlock
from wfe.agent.sandbox import KINDS, Limits, Policy, Sandbox, choose
from wfe.errors import EnvironmentFailure, ExitCode

Run = Callable[..., subprocess.CompletedProcess[str]]
ATTEMPT = """
import json, os, sys
def attempt(call):
    try:
        return ["done", repr(call())]
    except BaseException as error:
        return [type(error).__name__, str(error)]
"""


@pytest.fixture
def inside(box: Sandbox, tmp_path: Path) -> Run:
    """Run Python code in the sandbox; its staging directory is `tmp_path / "staging"`."""
    staging = tmp_path / "staging"
    staging.mkdir()

    def run(code: str, *arguments: str, seconds: float = 60, **changes: object) -> subprocess.CompletedProcess[str]:
        policy = Policy(writable=(staging,), **changes)  # type: ignore[arg-type]
        line = box.command([sys.executable, "-c", ATTEMPT + code, *arguments], policy)
        return subprocess.run(line, capture_output=True, text=True, timeout=seconds, check=False)

    return run


def test_a_program_works_in_its_staging_directory(inside: Run, tmp_path: Path) -> None:
    done = inside(
        "import numpy, tempfile; open('made', 'w').write(str(numpy.arange(4).sum()))\ntempfile.NamedTemporaryFile()"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "staging" / "made").read_text() == "6"


def test_threads_and_copies_are_allowed(inside: Run, tmp_path: Path) -> None:
    done = inside(
        "import threading, shutil\n"
        "t = threading.Thread(target=lambda: open('a', 'w').write('x')); t.start(); t.join()\n"
        "shutil.copy2('a', 'b'); os.replace('b', 'c'); os.mkdir('d'); shutil.move('c', 'd/c')\n"
        "import pathlib; pathlib.Path('touched').touch(); pathlib.Path('touched').touch()\n"
        "os.utime('touched', (1, 1))\n"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "staging" / "d" / "c").read_text() == "x"
    assert (tmp_path / "staging" / "touched").is_file()


def test_memory_that_no_limit_counts_is_refused(inside: Run) -> None:
    done = inside(
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(attempt(lambda: os.memfd_create('x'))[0], libc.shmget(0, ctypes.c_size_t(1 << 30), 0o1600), libc.msgget(0, 0o1600))\n"
    )
    assert done.stdout.split() == ["PermissionError", "-1", "-1"], done.stderr


def test_a_second_name_for_a_file_that_is_read_cannot_be_made(inside: Run, tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "file").write_text("read")
    done = inside(
        "print(attempt(lambda: os.link(sys.argv[1], 'mine'))[0], attempt(lambda: os.rename(sys.argv[1], 'mine'))[0])",
        str(tmp_path / "read" / "file"),
        readable=(tmp_path / "read",),
    )
    assert "done" not in done.stdout, done.stdout
    assert (tmp_path / "read" / "file").stat().st_nlink == 1 and not (tmp_path / "staging" / "mine").exists()


def test_no_device_can_be_made(inside: Run, tmp_path: Path) -> None:
    done = inside(
        "print(attempt(lambda: os.mknod('memory', 0o20666, os.makedev(1, 1)))[0], attempt(lambda: os.mknod('disk', 0o60666, os.makedev(8, 0)))[0])"
    )
    assert "done" not in done.stdout, done.stdout
    assert list((tmp_path / "staging").glob("[md]*")) == []


def test_nothing_of_the_engine_is_open(box: Sandbox, tmp_path: Path) -> None:
    """Even when the engine would let everything be inherited: a file, a directory, a socket."""
    secret = tmp_path / "secret"
    secret.write_text("CANARY")
    code = (
        ATTEMPT + "import stat\n"
        "found = []\n"
        "for number in range(3, 4096):\n"
        "    try: found.append([number, stat.S_IFMT(os.fstat(number).st_mode)])\n"
        "    except OSError: pass\n"
        "print(json.dumps([found, [attempt(lambda: os.listdir(f'/proc/self/fd/{n}/'))[0] for n, _ in found]]))\n"
    )
    staging = tmp_path / "staging"
    staging.mkdir()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        held = [os.open(secret, os.O_RDWR), os.open(tmp_path, os.O_RDONLY), server.fileno()]
        for number in held:
            os.set_inheritable(number, True)
        line = box.command([sys.executable, "-c", code], Policy(writable=(staging,)))
        done = subprocess.run(line, capture_output=True, text=True, close_fds=False, check=False)
        os.close(held[0])
        os.close(held[1])
    found, listed = json.loads(done.stdout)
    assert found == [] and "done" not in listed


def test_proc_shows_only_itself(inside: Run) -> None:
    """No other program's memory, directory, files or words; no list of the machine's connections."""
    with subprocess.Popen([sys.executable, "-c", "input()", "CANARY-WORD"], stdin=subprocess.PIPE) as victim:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            done = inside(
                "victim, engine, port = sys.argv[1:]\n"
                "files = ['environ', 'cmdline', 'maps', 'mem', 'root/etc/hostname', 'cwd/pyproject.toml', 'fd/0']\n"
                "ways = [f'/proc/{pid}/{file}' for pid in (victim, engine, os.getppid() or engine) for file in files]\n"
                "ways = [way for way in ways if not way.startswith('/proc/1/') or 'etc' in way]\n"
                "ways += ['/proc/1/root' + os.getcwd() + '/../secret', '/proc/kcore', '/dev/mem', '/dev/kmsg']\n"
                "print(json.dumps([[way, attempt(lambda: open(way, 'rb').read(64))] for way in ways]))\n"
                "tables = ['/proc/net/tcp', '/proc/self/net/tcp', '/proc/thread-self/net/tcp', f'/proc/self/task/{os.getpid()}/net/tcp']\n"
                "print(any(f':{int(port):04X} ' in str(attempt(lambda: open(table).read())) for table in tables))\n"
                "print(attempt(lambda: open('/proc/sys/kernel/core_pattern', 'w').write('x'))[0], attempt(lambda: open('/proc/self/timerslack_ns', 'w'))[0])\n",
                str(victim.pid),
                str(os.getpid()),
                str(port),
            )
        victim.communicate(b"\n")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.strip().split("\n")
    assert [way for way, (kind, _) in json.loads(first) if kind == "done"] == []
    assert "CANARY" not in done.stdout
    assert second == "False"
    assert "done" not in third


def test_the_home_directory_is_not_read(inside: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "home" / ".ssh" / "id_ed25519"
    key.parent.mkdir(parents=True)
    key.write_text("CANARY-KEY")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    done = inside(
        "from pathlib import Path\n"
        "os.symlink(sys.argv[1], 'link')\n"
        "ways = [lambda: Path('~/.ssh/id_ed25519').expanduser().read_text(), lambda: open(sys.argv[1]).read(),\n"
        "        lambda: os.listdir(os.path.dirname(sys.argv[1])), lambda: open('link').read(),\n"
        "        lambda: open('/proc/self/root' + sys.argv[1]).read(), lambda: os.link(sys.argv[1], 'hard'),\n"
        "        lambda: open('/proc/self/cwd/../home/.ssh/id_ed25519').read(), lambda: open('/etc/shadow').read()]\n"
        "print(json.dumps([attempt(way)[0] for way in ways]))\n",
        str(key),
    )
    assert done.returncode == 0, done.stderr
    assert "done" not in json.loads(done.stdout)
    assert "CANARY-KEY" not in done.stdout + done.stderr


def test_the_environment_is_clean_everywhere(inside: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "CANARY-TOKEN")
    done = inside(
        "print(dict(os.environ))\n"
        "for name in ['self', 'thread-self', sys.argv[1], *map(str, range(1, 40000))]:\n"
        "    try: print(open(f'/proc/{name}/environ').read(), file=sys.stdout)\n"
        "    except OSError: pass\n",
        str(os.getpid()),
        environ={"GIVEN": "yes"},
    )
    assert done.returncode == 0, done.stderr
    assert "'GIVEN': 'yes'" in done.stdout
    assert "CANARY-TOKEN" not in done.stdout + done.stderr


def test_nothing_outside_is_written(inside: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    held = outside / "held"
    held.write_text("as it was")
    held.chmod(0o640)
    before = held.stat()
    done = inside(
        "from pathlib import Path\n"
        "here = Path(sys.argv[1]); held = here / 'held'\n"
        "attempt(lambda: os.symlink(here, 'way'))\n"
        "for way in [lambda: (here / 'new').write_text('x'), lambda: held.write_text('x'), lambda: os.truncate(held, 0),\n"
        "            lambda: Path('way/new').write_text('x'), lambda: Path('../outside/new').write_text('x'), held.unlink,\n"
        "            lambda: os.rename(held, 'mine'), lambda: os.link(held, 'hard'), lambda: held.chmod(0o777),\n"
        "            lambda: os.utime(held, (0, 0)), lambda: os.mkdir(here / 'sub'), lambda: os.setxattr(held, 'user.x', b'1'),\n"
        "            lambda: Path('/var/tmp/wfe-canary').write_text('x'), lambda: Path('/dev/shm/wfe-canary').write_text('x'),\n"
        "            lambda: Path('/usr/wfe-canary').write_text('x'), lambda: Path(os.__file__).write_text('x'),\n"
        "            lambda: os.open('/proc/self/root' + str(here / 'new'), os.O_CREAT | os.O_WRONLY)]: attempt(way)\n",
        str(outside),
    )
    assert done.returncode == 0, done.stderr
    after = held.stat()
    assert [path.name for path in outside.iterdir()] == ["held"]
    assert held.read_text() == "as it was"
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 1)
    assert os.listxattr(held) == []
    for path in ("/var/tmp/wfe-canary", "/dev/shm/wfe-canary", "/usr/wfe-canary"):
        assert not Path(path).exists()
    assert Path(os.__file__).stat().st_size > 1000


def test_readable_trees_are_read_and_listable_ones_only_listed(inside: Run, tmp_path: Path) -> None:
    for name in ("read", "list"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    done = inside(
        "print(json.dumps([attempt(lambda: open(f'{d}/file').read())[0] for d in sys.argv[1:]]), attempt(lambda: os.listdir(sys.argv[2]))[0])\n"
        "attempt(lambda: open(sys.argv[1] + '/file', 'w').write('x'))",
        str(tmp_path / "read"),
        str(tmp_path / "list"),
        readable=(tmp_path / "read",),
        listable=(tmp_path / "list",),
    )
    assert done.stdout.split("\n")[0].startswith('["done", ') and '"done"]' not in done.stdout
    assert done.stdout.strip().endswith("done")
    assert (tmp_path / "read" / "file").read_text() == "read"


@contextlib.contextmanager
def listening(answer: bytes = b"") -> Iterator[tuple[int, list[str]]]:
    """A TCP server on loopback; yields its port and the first lines of what came in."""
    server = socket.create_server(("127.0.0.1", 0))
    heard: list[str] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                heard.append(peer.recv(4096).decode("latin-1").split("\r\n")[0])
                peer.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], heard
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_there_is_no_network(inside: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "staging" / "sock")
    with listening() as (port, heard), socket.socket(socket.AF_UNIX) as local:
        abstract = f"\0wfe-test-{os.getpid()}"
        local.bind(abstract)
        local.listen()
        done = inside(
            "import socket\n"
            "def unix(address):\n"
            "    s = socket.socket(socket.AF_UNIX); s.connect(address)\n"
            "def udp():\n"
            "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('127.0.0.1', int(sys.argv[1])))\n"
            "ways = [lambda: socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5).sendall(b'x'), udp,\n"
            "        lambda: unix(chr(0) + sys.argv[2]), lambda: socket.getaddrinfo('example.org', 80)]\n"
            "print(json.dumps([attempt(way)[0] for way in ways]))\n",
            str(port),
            abstract[1:],
        )
    assert done.returncode == 0, done.stderr
    assert "done" not in json.loads(done.stdout)
    assert heard == []
    assert not Path(path).exists()


def test_a_fork_bomb_makes_no_process(inside: Run) -> None:
    done = inside(
        "import subprocess, multiprocessing\n"
        "made = 0\n"
        "for _ in range(1000):\n"
        "    try:\n"
        "        if os.fork() == 0: os._exit(0)\n"
        "        made += 1\n"
        "    except OSError: pass\n"
        "others = [lambda: subprocess.run(['true']), multiprocessing.get_context('fork').Process(target=print).start,\n"
        "          lambda: os.posix_spawn('/bin/true', ['true'], {}), lambda: os.system('true') and 1 / 0, os.forkpty]\n"
        "print(json.dumps([made, [attempt(way)[0] for way in others]]))\n"
    )
    assert done.returncode == 0, done.stderr
    made, others = json.loads(done.stdout)
    assert made == 0
    assert "done" not in others


def test_a_memory_bomb_is_bounded(inside: Run) -> None:
    code = "held = []\ntry:\n    while True: held.append(bytearray(16 << 20))\nexcept MemoryError: print(len(held))\n"
    done = inside(code, limits=Limits(memory=512 << 20))
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) <= 32


def test_an_endless_loop_is_ended_by_its_share_of_the_processor(inside: Run) -> None:
    done = inside(
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", limits=Limits(cpu_seconds=1)
    )
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


def test_a_kill_ends_it_whatever_it_does(box: Sandbox, tmp_path: Path) -> None:
    code = (
        "import signal, time, os\n"
        "for n in range(1, 32):\n"
        "    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "try: os.setsid()\n"
        "except OSError: pass\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(60)\n"
    )
    line = box.command([sys.executable, "-c", code], Policy(writable=(tmp_path,)))
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
        assert process.stdout.read() == ""  # the end of the pipe: nobody holds it any more


def test_files_and_their_size_are_bounded(inside: Run, tmp_path: Path) -> None:
    done = inside(
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "print(attempt(lambda: open('big', 'wb').write(bytes(2 << 20)))[0])\n"
        "print(attempt(lambda: [open('big', 'rb') for _ in range(100)])[0])\n"
        "import resource\n"
        "for name in ('RLIMIT_AS', 'RLIMIT_FSIZE', 'RLIMIT_NOFILE'):\n"
        "    print(attempt(lambda: resource.setrlimit(getattr(resource, name), (1 << 40, 1 << 40)))[0])\n",
        limits=Limits(file_bytes=1 << 20, open_files=64),
    )
    assert done.stdout.split() == ["OSError", "OSError", "ValueError", "ValueError", "ValueError"], done.stderr
    assert (tmp_path / "staging" / "big").stat().st_size <= 1 << 20


def test_other_programs_are_left_alone(inside: Run) -> None:
    done = inside(
        "import signal, ctypes, resource\n"
        "libc = ctypes.CDLL(None, use_errno=True); libc.syscall.restype = ctypes.c_long\n"
        "engine = int(sys.argv[1])\n"
        "ways = [lambda: os.kill(engine, signal.SIGUSR1), lambda: open(f'/proc/{engine}/mem', 'rb'),\n"
        "        lambda: resource.prlimit(engine, resource.RLIMIT_NOFILE, (1, 1)), lambda: os.setpriority(os.PRIO_PROCESS, engine, 19),\n"
        "        lambda: os.pidfd_open(engine)]\n"
        "print(json.dumps([attempt(way)[0] for way in ways]))\n"
        "print(libc.ptrace(16, engine, 0, 0), libc.unshare(0x10000000), libc.mount(b'none', b'.', b'tmpfs', 0, None), libc.syscall(425, 8, 0))\n",
        str(os.getpid()),
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.strip().split("\n")
    assert "done" not in json.loads(first)
    assert second == "-1 -1 -1 -1"


def test_what_cannot_be_applied_is_refused(box: Sandbox, tmp_path: Path) -> None:
    line = box.command([sys.executable, "-c", "print('ran')"], Policy(writable=(tmp_path,)))
    asked = json.loads(line[-1])
    asked["directory"] = str(tmp_path / "not there")
    done = subprocess.run([*line[:-1], json.dumps(asked)], capture_output=True, text=True, check=False)
    assert done.returncode == sandboxes.REFUSED
    assert done.stdout == "" and done.stderr.startswith("wfe sandbox: ")


def test_without_a_mechanism_there_is_a_refusal_that_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(landlock, "abi", lambda: 2)
    sandboxes._bubblewrap_missing.cache_clear()
    try:
        with pytest.raises(EnvironmentFailure) as caught:
            choose()
    finally:
        sandboxes._bubblewrap_missing.cache_clear()
    assert caught.value.code == ExitCode.ENVIRONMENT
    for part in ("`bwrap` is not on PATH", "Landlock version 2", "install bubblewrap", "--unsafe"):
        assert part in str(caught.value)


def bubblewrap() -> Sandbox:
    if why := KINDS[0].missing():
        pytest.skip(why)
    return KINDS[0]


def test_a_granted_host_is_reached_and_no_other(tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    with listening(page) as (port, heard), listening(page) as (other, silent):  # noqa: SIM117
        deep = tmp_path / ("deep" * 30)  # a Unix socket's own path may not be so long
        deep.mkdir()
        with gateway([f"127.0.0.1:{port}"], deep) as door:
            code = (
                ATTEMPT + "import requests, socket\n"
                "print(requests.get(sys.argv[1], timeout=20).text, requests.get(sys.argv[2], timeout=20).status_code)\n"
                "print(attempt(lambda: socket.create_connection(('127.0.0.1', int(sys.argv[3])), 5))[0])\n"
                "print(attempt(lambda: requests.get(sys.argv[1].replace('http:', 'https:'), timeout=20))[0])\n"
            )
            arguments = [f"http://127.0.0.1:{port}/page?x=1", f"http://127.0.0.1:{other}/", str(other)]
            policy = Policy(writable=(staging,), gateway=door)
            line = bubblewrap().command([sys.executable, "-c", code, *arguments], policy)
            done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["hello", "403", "ConnectionRefusedError", "SSLError"], done.stderr
    assert heard[0] == "GET /page?x=1 HTTP/1.1"
    assert silent == []


def test_landlock_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    if why := KINDS[1].missing():
        pytest.skip(why)
    with pytest.raises(EnvironmentFailure, match="install bubblewrap"):
        KINDS[1].command([sys.executable], Policy(writable=(tmp_path,), gateway=tmp_path / "gateway"))


@pytest.mark.parametrize(
    ("host", "port", "hosts", "answer"),
    [
        ("example.org", 80, ["example.org"], True),
        ("EXAMPLE.org.", 80, ["example.org"], True),
        ("evil-example.org", 80, ["example.org"], False),
        ("a.example.org", 80, ["example.org"], False),
        ("a.example.org", 80, ["*.example.org"], True),
        ("aexample.org", 80, ["*.example.org"], False),
        ("example.org", 81, ["example.org:80"], False),
        ("example.org", 80, [], False),
        ("example.org", 80, ["*"], False),
    ],
)
def test_hosts(host: str, port: int, hosts: list[str], answer: bool) -> None:
    assert permitted(host, port, hosts) is answer


def test_a_write_beside_the_staging_directory_does_not_seem_to_succeed(inside: Run, tmp_path: Path) -> None:
    done = inside("print(attempt(lambda: open(sys.argv[1], 'w').write('x'))[0])", str(tmp_path / "beside"))
    assert done.stdout.strip() in ("OSError", "PermissionError"), done.stderr
