"""What hostile code tries once it runs inside a worker: one function an attempt, tried in the confined child itself.

An attempt returns when it got what it wanted and raises OSError when it was refused. Everything is imported, and pages
of machine code are made, while the module is loaded: after confinement neither is possible any more.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Stage = Mapping[str, Any]

MACHINE = platform.machine()
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
#: name → (x86_64, aarch64)
_NUMBERS = {
    "clone": (56, 220),
    "ptrace": (101, 117),
    "personality": (135, 92),
    "mount": (165, 40),
    "umount2": (166, 39),
    "tgkill": (234, 131),
    "shmat": (30, 196),
    "keyctl": (250, 219),
    "get_robust_list": (274, 100),
    "unshare": (272, 97),
    "perf_event_open": (298, 241),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "add_key": (248, 217),
    "pidfd_getfd": (438, 438),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "pkey_mprotect": (329, 288),
    "io_uring_setup": (425, 425),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
}
_PAGE = 4096
_UTS_NAMESPACE = os.open("/proc/self/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
#: push rbx; socket(AF_INET, SOCK_STREAM, 0) by the 32-bit entry (int 0x80); pop rbx; ret
_INT80 = bytes.fromhex("53 b867010000 bb02000000 b901000000 31d2 cd80 5b c3")


def _machine_code(code: bytes) -> tuple[mmap.mmap, Any]:
    page = mmap.mmap(-1, _PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page[: len(code)] = code
    return page, ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))


_int80_page, _int80 = _machine_code(_INT80) if MACHINE == "x86_64" else (None, None)


def _call(name: str, *arguments: Any) -> int:
    """A system call by its number, with OSError on failure."""
    number = _NUMBERS[name][0 if MACHINE == "x86_64" else 1]
    return _checked(libc.syscall(ctypes.c_long(number), *[_wide(each) for each in arguments]))


def _wide(argument: Any) -> Any:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# files


def read_passwd(_: Stage) -> None:
    Path("/etc/passwd").read_bytes()


def read_other_model(stage: Stage) -> None:
    Path(stage["other_model"]).read_bytes()


def list_root(_: Stage) -> None:
    os.listdir("/")


def list_processes(_: Stage) -> None:
    os.listdir("/proc")


def read_own_environ(_: Stage) -> None:
    Path("/proc/self/environ").read_bytes()


def open_own_memory(_: Stage) -> None:
    os.close(os.open("/proc/self/mem", os.O_RDWR))


def read_parent_cmdline(_: Stage) -> None:
    Path(f"/proc/{os.getppid()}/cmdline").read_bytes()


def stat_file(stage: Stage) -> None:
    os.stat(stage["other_model"])


def make_file(stage: Stage) -> None:
    path = f"{stage['open']}/made"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)


def make_file_in_tmp(_: Stage) -> None:
    path = f"/tmp/intramural-made-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)


def make_file_in_private(stage: Stage) -> None:
    path = f"{stage['private']}/made"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)


def make_unnamed_file(stage: Stage) -> None:
    os.close(os.open(stage["open"], os.O_TMPFILE | os.O_RDWR))


def write_file(stage: Stage) -> None:
    with open(stage["victim"], "r+b", buffering=0) as file:
        file.write(b"overwritten")


def truncate_file(stage: Stage) -> None:
    os.truncate(stage["victim"], 1)


def truncate_by_open(stage: Stage) -> None:
    os.close(os.open(stage["victim"], os.O_WRONLY | os.O_TRUNC))


def reopen_model_for_writing(stage: Stage) -> None:
    os.close(os.open(f"/proc/self/fd/{stage['fd']}", os.O_RDWR))


def truncate_model(stage: Stage) -> None:
    os.truncate(stage["model"], 5)


def chmod_model(stage: Stage) -> None:
    os.chmod(stage["model"], 0o444)


def fchmod_model(stage: Stage) -> None:
    os.fchmod(stage["fd"], 0o444)


def utime_model(stage: Stage) -> None:
    os.utime(stage["model"], (1, 1))


def make_directory(stage: Stage) -> None:
    os.mkdir(f"{stage['open']}/directory")
    os.rmdir(f"{stage['open']}/directory")


def make_symlink(stage: Stage) -> None:
    os.symlink("/etc/passwd", f"{stage['open']}/link")
    os.unlink(f"{stage['open']}/link")


def rename_file(stage: Stage) -> None:
    os.rename(stage["victim"], f"{stage['victim']}2")
    os.rename(f"{stage['victim']}2", stage["victim"])


def remove_file(stage: Stage) -> None:
    os.unlink(stage["removable"])


# network and sockets


def _connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as client:
        client.connect(address)


def tcp4(stage: Stage) -> None:
    _connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", stage["tcp4"]))


def tcp6(stage: Stage) -> None:
    _connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", stage["tcp6"]))


def tcp_listen(_: Stage) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()


def udp(stage: Stage) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"out", ("127.0.0.1", stage["udp"]))


def dns(_: Stage) -> None:
    try:
        socket.getaddrinfo(b"localhost", None)
    except socket.gaierror as error:
        raise PermissionError(errno.EACCES, str(error)) from None


def netlink(_: Stage) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as client:
        client.bind((0, 0))


def raw(_: Stage) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def packet(_: Stage) -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()


def vsock(_: Stage) -> None:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


def unix_datagram(_: Stage) -> None:
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).close()


def pair_sendmsg(stage: Stage) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.sendmsg([b"out"], [], 0, stage["unix_datagram"])


def unix_stream(stage: Stage) -> None:
    _connect(socket.AF_UNIX, socket.SOCK_STREAM, stage["unix_stream"])


def unix_abstract(stage: Stage) -> None:
    _connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + stage["unix_abstract"])


def bind_elsewhere(stage: Stage) -> None:
    path = f"{stage['open']}/bound.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
    os.unlink(path)


def io_uring(_: Stage) -> None:
    os.close(_call("io_uring_setup", 1, ctypes.create_string_buffer(120)))


# processes


def execute(_: Stage) -> None:
    os.execv("/bin/echo", ["echo", json.dumps({"execve": "works"})])


def fork(_: Stage) -> None:
    _parted(os.fork())


def clone(_: Stage) -> None:
    _parted(_call("clone", signal.SIGCHLD, 0, 0, 0, 0))


def clone3(_: Stage) -> None:
    _parted(_call("clone3", struct.pack("<8Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64))


def _parted(pid: int) -> None:
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def posix_spawn(_: Stage) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)


def thread_bomb(_: Stage) -> None:
    end = threading.Event()
    threads = []
    try:
        for _number in range(300):
            thread = threading.Thread(target=end.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        raise OSError(errno.EAGAIN, "no more threads") from None
    finally:
        end.set()
        for thread in threads:
            thread.join()


def ptrace_sibling(stage: Stage) -> None:
    _call("ptrace", 0x4206, stage["sibling"], 0, 0)
    with contextlib.suppress(OSError):
        _call("ptrace", 17, stage["sibling"], 0, 0)


def read_sibling_memory(stage: Stage) -> None:
    here = ctypes.create_string_buffer(16)
    local = struct.pack("<QQ", ctypes.addressof(here), 16)
    remote = struct.pack("<QQ", stage["sibling_address"], 16)
    _call("process_vm_readv", stage["sibling"], local, 1, remote, 1, 0)


def write_sibling_memory(stage: Stage) -> None:
    """Where its program lies, nothing can be written: who may try is told that, and not that he may not."""
    local = struct.pack("<QQ", ctypes.addressof(ctypes.create_string_buffer(16)), 16)
    remote = struct.pack("<QQ", stage["sibling_address"], 16)
    try:
        _call("process_vm_writev", stage["sibling"], local, 1, remote, 1, 0)
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise


def descriptor_of_sibling(stage: Stage) -> None:
    other = _call("pidfd_open", stage["sibling"], 0)
    try:
        os.close(_call("pidfd_getfd", other, 0, 0))
    finally:
        os.close(other)


def signal_parent(_: Stage) -> None:
    os.kill(os.getppid(), 0)


def terminate_sibling(stage: Stage) -> None:
    os.kill(stage["sibling"], signal.SIGTERM)  # it ignores that one


def tgkill_sibling(stage: Stage) -> None:
    _call("tgkill", stage["sibling"], stage["sibling"], 0)


def pidfd_parent(_: Stage) -> None:
    os.close(_call("pidfd_open", os.getppid(), 0))


def sigio_sibling(stage: Stage) -> None:
    """Have the kernel send the signal: say that a pipe of ours belongs to the other process, then fill it."""
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(reader, fcntl.F_SETOWN, stage["sibling"])
        fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGUSR1)
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(writer, b"x")
    finally:
        os.close(reader)
        os.close(writer)


def pin_sibling(stage: Stage) -> None:
    os.sched_setaffinity(stage["sibling"], os.sched_getaffinity(stage["sibling"]))


def locks_of_sibling(stage: Stage) -> None:
    """An address inside the other process: where its memory lies is nobody's business."""
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    _call("get_robust_list", stage["sibling"], ctypes.byref(head), ctypes.byref(size))


def shared_memory(stage: Stage) -> None:
    _call("shmat", stage["shared_memory"], None, 0)


def outlive_parent(_: Stage) -> None:
    _checked(libc.prctl(1, 0, 0, 0, 0))


def limit_parent(_: Stage) -> None:
    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)


def raise_own_limit(_: Stage) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        resource.setrlimit(resource.RLIMIT_NOFILE, (65, 65))
    except ValueError as error:  # Python's word for EPERM here
        raise PermissionError(errno.EPERM, str(error)) from None


# the machine


def mount(stage: Stage) -> None:
    _call("mount", b"none", stage["mount"].encode(), b"tmpfs", 0, None)
    _call("umount2", stage["mount"].encode(), 0)


def unshare(_: Stage) -> None:
    _call("unshare", 0x04000000)


def unshare_user(_: Stage) -> None:
    _call("unshare", 0x10000000)


def setns(_: Stage) -> None:
    _call("setns", _UTS_NAMESPACE, 0)


def bpf(_: Stage) -> None:
    os.close(_call("bpf", 0, struct.pack("<4I", 2, 4, 4, 1), 16))


def keyctl(_: Stage) -> None:
    _call("keyctl", 0, -2, 1)


def add_key(_: Stage) -> None:
    _call("add_key", b"user", b"intramural", b"x", 1, -2)


def userfaultfd(_: Stage) -> None:
    os.close(_call("userfaultfd", 1))


def perf(_: Stage) -> None:
    attributes = bytearray(112)
    struct.pack_into("<IIQ", attributes, 0, 1, 112, 0)
    struct.pack_into("<Q", attributes, 40, 1 << 5 | 1 << 6)
    os.close(_call("perf_event_open", bytes(attributes), 0, -1, -1, 0))


def memfd(_: Stage) -> None:
    os.close(os.memfd_create("hidden"))


def map_executable(_: Stage) -> None:
    mmap.mmap(-1, _PAGE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def make_executable(_: Stage) -> None:
    page = mmap.mmap(-1, _PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    _checked(libc.mprotect(ctypes.c_void_p(address), _PAGE, mmap.PROT_READ | mmap.PROT_EXEC))


def make_executable_by_key(_: Stage) -> None:
    page = mmap.mmap(-1, _PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    _call("pkey_mprotect", address, _PAGE, mmap.PROT_READ | mmap.PROT_EXEC, -1)


def personality(_: Stage) -> None:
    before = _call("personality", 0xFFFFFFFF)
    _call("personality", 0x0400000)  # READ_IMPLIES_EXEC
    _call("personality", before)


def be_dumpable(_: Stage) -> None:
    before = _checked(libc.prctl(3, 0, 0, 0, 0))
    _checked(libc.prctl(4, 1, 0, 0, 0))
    _checked(libc.prctl(4, before, 0, 0, 0))


def become_root(_: Stage) -> None:
    os.setuid(0)


def chroot(stage: Stage) -> None:
    os.chroot(stage["mount"])


def int80(_: Stage) -> None:
    assert _int80 is not None
    result = _int80()
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    os.close(result)


def x32(_: Stage) -> None:
    _checked(libc.syscall(ctypes.c_long(0x40000000 | 39)))


@dataclass(frozen=True, slots=True)
class Attempt:
    """`refusals`: error names besides EPERM and EACCES that mean it was refused. `alone`: it may end its process."""

    run: Callable[[Stage], None]
    refusals: frozenset[str] = frozenset()
    alone: bool = False
    only: str = ""


def _also(*names: str) -> frozenset[str]:
    return frozenset(names)


_TABLE: dict[str, Attempt] = {
    "read /etc/passwd": Attempt(read_passwd),
    "read another model": Attempt(read_other_model),
    "list /": Attempt(list_root),
    "list the processes": Attempt(list_processes),
    "read its own environment in /proc": Attempt(read_own_environ),
    "open its own memory in /proc": Attempt(open_own_memory),
    "read the parent's command line": Attempt(read_parent_cmdline),
    "see that a file exists, and its size": Attempt(stat_file),
    "make a file": Attempt(make_file),
    "make a file in /tmp": Attempt(make_file_in_tmp),
    "make a file in its private directory": Attempt(make_file_in_private),
    "make a file without a name": Attempt(make_unnamed_file),
    "write into a file open to all": Attempt(write_file, _also("EFBIG")),
    "truncate a file open to all": Attempt(truncate_file),
    "truncate a file by opening it": Attempt(truncate_by_open),
    "open the model again for writing": Attempt(reopen_model_for_writing),
    "truncate the model": Attempt(truncate_model),
    "change the model's mode": Attempt(chmod_model),
    "change the model's mode by descriptor": Attempt(fchmod_model),
    "change the model's times": Attempt(utime_model),
    "make a directory": Attempt(make_directory),
    "make a symbolic link": Attempt(make_symlink),
    "rename a file": Attempt(rename_file),
    "remove a file": Attempt(remove_file),
    "TCP to the host, IPv4": Attempt(tcp4, _also("ENETUNREACH")),
    "TCP to the host, IPv6": Attempt(tcp6, _also("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT")),
    "listen on TCP": Attempt(tcp_listen),
    "UDP to the host": Attempt(udp, _also("ENETUNREACH")),
    "look up a name": Attempt(dns),
    "netlink socket": Attempt(netlink),
    "raw socket": Attempt(raw),
    "packet socket": Attempt(packet),
    "vsock socket": Attempt(vsock),
    "Unix datagram socket": Attempt(unix_datagram),
    "datagram pair, sendmsg to a host's Unix socket": Attempt(pair_sendmsg),
    "connect to a host's Unix socket": Attempt(unix_stream),
    "connect to a host's abstract Unix socket": Attempt(unix_abstract, _also("ECONNREFUSED")),
    "Unix socket outside the private directory": Attempt(bind_elsewhere),
    "io_uring": Attempt(io_uring),
    "execve": Attempt(execute, alone=True),
    "fork": Attempt(fork),
    "clone without the thread flag": Attempt(clone),
    "clone3": Attempt(clone3, _also("ENOSYS")),
    "posix_spawn (vfork)": Attempt(posix_spawn),
    "300 threads": Attempt(thread_bomb, _also("EAGAIN")),
    "ptrace another process": Attempt(ptrace_sibling),
    "read another process's memory": Attempt(read_sibling_memory),
    "write another process's memory": Attempt(write_sibling_memory),
    "take another process's descriptor": Attempt(descriptor_of_sibling),
    "signal the parent": Attempt(signal_parent),
    "terminate another process": Attempt(terminate_sibling),
    "tgkill another process": Attempt(tgkill_sibling),
    "signal another process through a pipe's owner": Attempt(sigio_sibling, _also("undelivered")),
    "pidfd of the parent": Attempt(pidfd_parent),
    "choose another process's processors": Attempt(pin_sibling),
    "addresses in another process (get_robust_list)": Attempt(locks_of_sibling),
    "attach the host's shared memory": Attempt(shared_memory, _also("EINVAL")),
    "outlive the parent": Attempt(outlive_parent),
    "limits of the parent": Attempt(limit_parent),
    "raise its own limits": Attempt(raise_own_limit),
    "mount": Attempt(mount),
    "unshare": Attempt(unshare),
    "user namespace": Attempt(unshare_user, alone=True),
    "setns": Attempt(setns),
    "bpf": Attempt(bpf),
    "keyctl": Attempt(keyctl),
    "add a key": Attempt(add_key),
    "userfaultfd": Attempt(userfaultfd),
    "perf_event_open": Attempt(perf),
    "memfd_create": Attempt(memfd),
    "map executable memory": Attempt(map_executable),
    "make memory executable": Attempt(make_executable),
    "make memory executable by key": Attempt(make_executable_by_key),
    "personality": Attempt(personality),
    "become dumpable": Attempt(be_dumpable),
    "setuid(0)": Attempt(become_root, _also("EINVAL")),
    "chroot": Attempt(chroot, alone=True),
    "socket through int 0x80": Attempt(int80, _also("killed"), alone=True, only="x86_64"),
    "x32 call": Attempt(x32, only="x86_64"),
}
ATTEMPTS = {name: attempt for name, attempt in _TABLE.items() if attempt.only in ("", MACHINE)}


def try_all(arg: Stage, files: Mapping[str, int]) -> dict[str, str]:
    """Try `arg["names"]` one after the other; name → "works" or the name of the error."""
    return try_each({name: ATTEMPTS[name].run for name in arg["names"]}, {**arg["stage"], "fd": files["model"]})


def try_each(attempts: Mapping[str, Callable[[Stage], None]], stage: Stage) -> dict[str, str]:
    """Name → "works" or the name of the error."""
    return {name: _try(run, stage) for name, run in attempts.items()}


def _try(run: Callable[[Stage], None], stage: Stage) -> str:
    try:
        run(stage)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))
    return "works"


def report(arg: Stage, files: Mapping[str, int]) -> None:
    """The same as an engine's entry: the results are one line of JSON on standard output."""
    print(json.dumps(try_all(arg, files)), flush=True)


if __name__ == "__main__":  # without any confinement
    told = json.loads(sys.argv[1])
    report(told, {"model": os.open(told["stage"]["model"], os.O_RDONLY)})
