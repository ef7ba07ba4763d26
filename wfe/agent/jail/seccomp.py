"""seccomp: which system calls a process may make. A classic-BPF program, written out here, for x86_64 and aarch64.

Knows numbers of system calls and BPF (linux/filter.h, linux/seccomp.h, Documentation/userspace-api/seccomp_filter.rst).
Does not know files: Landlock or a mount namespace governs those. Own code since the binding on the package index needs
libseccomp, a system library that may be missing; the program is a flat list of comparisons.

A denied call fails with an errno, it does not kill, so that a node's failure reads as PermissionError at its own line.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

# name: (x86_64, aarch64); from asm/unistd_64.h and asm-generic/unistd.h.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "userfaultfd": (323, 282),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    "fanotify_init": (300, 262),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "fork": (57, None),
    "vfork": (58, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "socket": (41, 198),
    "ioctl": (16, 29),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "utimensat": (280, 88),
    "futimesat": (261, None),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
_ARCHITECTURES = {
    "x86_64": (0, 0xC000003E),
    "amd64": (0, 0xC000003E),
    "aarch64": (1, 0xC00000B7),
    "arm64": (1, 0xC00000B7),
}

_NEVER = tuple(_NUMBERS)[: tuple(_NUMBERS).index("memfd_create")]
# Memory that no limit of a process counts: a file of memory, a segment that nobody has attached, a queue.
_UNCOUNTED = tuple(name for name in _NUMBERS if name.startswith(("memfd", "shm", "msg", "sem", "mq_")))
_METADATA = tuple(_NUMBERS)[tuple(_NUMBERS).index("chmod") : tuple(_NUMBERS).index("setxattr")]
_ATTRIBUTES = tuple(_NUMBERS)[tuple(_NUMBERS).index("setxattr") :]

_LOAD, _EQUAL, _GREATER, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ/JGE/JSET|K, BPF_RET|K
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_ARGUMENT = 16  # offset of args[0] in struct seccomp_data; its low half first, as both machines are little-endian
_CLONE_THREAD = 0x00010000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # put characters into the terminal that the user types in
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


def supported() -> bool:
    """Whether this machine's system calls are known here."""
    return os.name == "posix" and platform.system() == "Linux" and platform.machine().lower() in _ARCHITECTURES


def program(*, network: bool, alone: bool, pid: int, machine: str = "") -> bytes:
    """The filter, as an array of `struct sock_filter` (u16 code, u8 jt, u8 jf, u32 k).

    network: let it make sockets (for a process in a network namespace of its own). alone: it shares the process table
    and the file owners with the user's other programs, so signals go to `pid` only, and changes of mode, owner and
    times, which Landlock does not govern, do nothing and report success (copying a file sets its mode; an error there
    would refuse innocent code). No process can be made, threads can; no System V or POSIX queues, no files of memory.
    """
    column, architecture = _ARCHITECTURES[(machine or platform.machine()).lower()]
    code: list[tuple[int, int, int, int]] = []

    def deny(names: tuple[str, ...], number: int) -> None:
        for name in names:
            call = _NUMBERS[name][column]
            if call is not None:
                code.extend([(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _ERRNO | number)])

    def only(names: tuple[str, ...], argument: int, accepted: tuple[int, ...], number: int) -> None:
        """Refuse the call unless its argument is one of `accepted`."""
        for name in names:
            call = _NUMBERS[name][column]
            if call is None:
                continue
            tests = [(_EQUAL, len(accepted) - at, 0, value) for at, value in enumerate(accepted)]
            body = [
                (_LOAD, 0, 0, _ARGUMENT + 8 * argument),
                *tests,
                (_RETURN, 0, 0, _ERRNO | number),
                (_RETURN, 0, 0, _ALLOW),
            ]
            code.extend([(_EQUAL, 0, len(body), call), *body])

    code.append((_LOAD, 0, 0, 4))
    code.extend([(_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)])
    code.append((_LOAD, 0, 0, 0))
    if column == 0:
        code.extend([(_GREATER, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)])  # the x32 numbers would walk round the list
    deny(_NEVER, errno.EPERM)
    deny(_UNCOUNTED, errno.EPERM)
    deny(("fork", "vfork"), errno.EPERM)
    deny(("clone3",), errno.ENOSYS)  # its flags lie behind a pointer; libc falls back to clone
    clone = _NUMBERS["clone"][column]
    assert clone is not None
    thread = [(_LOAD, 0, 0, _ARGUMENT), (_SET, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    code.extend([(_EQUAL, 0, 4, clone), *thread, (_RETURN, 0, 0, _ALLOW)])
    deny(("io_uring_setup", "io_uring_enter", "io_uring_register"), errno.ENOSYS)  # its own way to make a socket
    if not network:
        deny(("socket",), errno.EACCES)
    ioctl = _NUMBERS["ioctl"][column]
    assert ioctl is not None
    terminal = [(_LOAD, 0, 0, _ARGUMENT + 8), (_EQUAL, 1, 0, _TIOCSTI), (_EQUAL, 0, 1, _TIOCLINUX)]
    code.extend([(_EQUAL, 0, 5, ioctl), *terminal, (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)])
    if alone:
        only(("kill", "tgkill"), 0, (pid,), errno.EPERM)
        only(
            ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"),
            0,
            (0, pid),
            errno.EPERM,
        )
        touch = _NUMBERS["utimensat"][column]
        assert touch is not None
        # Without times it asks for the present: pathlib's touch() makes the file when that fails.
        times = [(_LOAD, 0, 0, _ARGUMENT + 16), (_EQUAL, 0, 3, 0), (_LOAD, 0, 0, _ARGUMENT + 20), (_EQUAL, 0, 1, 0)]
        code.extend([(_EQUAL, 0, 6, touch), *times, (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ERRNO)])
        deny(_METADATA, 0)
        deny(_ATTRIBUTES, errno.ENOTSUP)
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install(code: bytes) -> None:
    """Put the filter on this process and all it becomes, for good. Raises OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(held), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")
