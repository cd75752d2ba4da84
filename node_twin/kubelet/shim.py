"""The process that forks containers: small, single-threaded, standard library only.

Run as `python -I -S shim.py FD` by runtime.py and spoken to over the socket FD. It exists because
forking a large process with threads is unsafe, and because in an emulated guest starting an
interpreter per container costs seconds where a fork costs milliseconds. When the socket closes,
every container is killed: nothing outlives the kubelet.

Requests, one JSON object a line: {"op": "run", "id", ...Launch}, {"op": "exec", "id", ...Exec},
{"op": "signal", "id", "signal"}. Answers: {"id", "event": "started", "pid"},
{"id", "event": "failed", "error"}, {"id", "event": "exited", "code"}; a signal's code is 128 + n.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn, TypedDict

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

# Not taken over from the guest: given anew, or private to each container behind the overlay.
_OWN_TREES = ("/proc", "/sys", "/dev", "/run", "/tmp")  # noqa: S108 - mount points, no files of ours

_libc = ctypes.CDLL(None, use_errno=True)


class Bind(TypedDict):
    """A mount: where it comes from in the guest and where it appears in the container."""

    source: str
    target: str
    read_only: bool


class Launch(TypedDict):
    """A container's process."""

    argv: list[str]
    env: dict[str, str]
    working_dir: str
    cgroup: str
    """Absolute path of the cgroup that the process joins before anything else."""
    log_file: str
    scratch_dir: str
    """An empty directory in the guest that the root is assembled on."""
    binds: list[Bind]
    read_only_root: bool
    writable_sys: bool
    oom_score_adj: int


class Exec(TypedDict):
    """A command in a running container."""

    argv: list[str]
    env: dict[str, str]
    cgroup: str
    container_pid: int


class Request(TypedDict):
    """What the kubelet sends; `launch`, `exec` or `signal` by `op`."""

    op: str
    id: str
    launch: Launch
    exec: Exec
    signal: int


class Child:
    """A forked process and the pipe on which it reports why it could not execute its command."""

    def __init__(self, identity: str, pid: int, error_pipe: int) -> None:
        self.identity = identity
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.error_pipe = error_pipe


class Shim:
    """Serve one kubelet until it goes away."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._children: dict[str, Child] = {}
        self._pending = b""

    def serve(self) -> None:
        """Handle requests and exits until the socket closes; then kill what is left."""
        self._selector.register(self._control, selectors.EVENT_READ, self._read_requests)
        try:
            while self._control.fileno() >= 0:
                for key, _ in self._selector.select():
                    handle: Callable[[], None] = key.data
                    handle()
        finally:
            for child in self._children.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)

    def _read_requests(self) -> None:
        received = self._control.recv(1 << 16)
        if not received:
            self._selector.unregister(self._control)
            self._control.close()
            return
        *lines, self._pending = (self._pending + received).split(b"\n")
        for line in lines:
            self._handle(json.loads(line))

    def _handle(self, request: Request) -> None:
        identity = request["id"]
        match request["op"]:
            case "run":
                launch = request["launch"]
                self._fork(identity, lambda: become_container(launch))
            case "exec":
                command = request["exec"]
                self._fork(identity, lambda: become_exec(command))
            case "signal":
                child = self._children.get(identity)
                if child is not None:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(child.pidfd, request["signal"])

    def _fork(self, identity: str, become: Callable[[], NoReturn]) -> None:
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            _run_child(become, writable)
        os.close(writable)
        child = Child(identity, pid, readable)
        self._children[identity] = child
        self._selector.register(readable, selectors.EVENT_READ, lambda: self._executed(child))

    def _executed(self, child: Child) -> None:
        """The pipe has an error, or closed because the command was executed."""
        error = os.read(child.error_pipe, 1 << 16)
        self._selector.unregister(child.error_pipe)
        os.close(child.error_pipe)
        if error:
            os.waitpid(child.pid, 0)
            self._forget(child)
            self._answer(child, event="failed", error=error.decode(errors="replace"))
            return
        self._answer(child, event="started", pid=child.pid)
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._exited(child))

    def _exited(self, child: Child) -> None:
        self._selector.unregister(child.pidfd)
        _, status = os.waitpid(child.pid, 0)
        self._forget(child)
        code = os.waitstatus_to_exitcode(status)
        self._answer(child, event="exited", code=code if code >= 0 else 128 - code)

    def _forget(self, child: Child) -> None:
        os.close(child.pidfd)
        del self._children[child.identity]

    def _answer(self, child: Child, **fields: str | int) -> None:
        self._control.sendall(json.dumps({"id": child.identity, **fields}).encode() + b"\n")


def _run_child(become: Callable[[], NoReturn], error_pipe: int) -> NoReturn:
    """Turn the forked process into what it shall be; never return into the shim's loop."""
    try:
        become()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        os.write(error_pipe, str(error).encode()[:4000] or b"unknown error")
    finally:
        os._exit(127)


def become_container(launch: Launch) -> NoReturn:
    """Join the cgroup, assemble the root file system, execute the command."""
    # First of all, so that everything below is already accounted to the container.
    _join(launch["cgroup"])
    _detach_from_parent(os.open(launch["log_file"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
    with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - pathlib costs start-up time here
        file.write(str(launch["oom_score_adj"]))
    _call(_libc.unshare(CLONE_NEWNS), "unshare the mount namespace")
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)
    root = assemble_root(launch["scratch_dir"], launch["writable_sys"])
    for bind in launch["binds"]:
        mount_bind(root, bind)
    if launch["read_only_root"]:
        _mount("none", root, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)
    _pivot(root)
    _execute(launch["argv"], launch["env"], launch["working_dir"])


def become_exec(command: Exec) -> NoReturn:
    """Enter a container's cgroup and mount namespace and execute a command there."""
    pid = command["container_pid"]
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    _join(command["cgroup"])
    _detach_from_parent(os.open("/dev/null", os.O_WRONLY))
    _call(_libc.setns(namespace, CLONE_NEWNS), "enter the container's mount namespace")
    os.fchdir(root)
    os.chroot(".")
    _execute(command["argv"], command["env"], "/")


def assemble_root(scratch_dir: str, writable_sys: bool) -> str:
    """Mount the guest's own root behind a private overlay, so that any mount path can be made."""
    _mount("tmpfs", scratch_dir, "tmpfs")
    upper, work, root = (f"{scratch_dir}/{name}" for name in ("upper", "work", "root"))
    for directory in (upper, work, root):
        os.mkdir(directory)  # noqa: PTH102 - as above
    _mount("overlay", root, "overlay", options=f"lowerdir=/,upperdir={upper},workdir={work}")
    # An overlay shows its lower file system without what is mounted on it.
    for point in other_mounts():
        _mount(point, root + point, flags=MS_BIND | MS_REC)
    for point in ("/proc", "/dev"):
        _mount(point, root + point, flags=MS_BIND | MS_REC)
    for point in ("/sys", "/sys/fs/cgroup"):
        _mount(point, root + point, flags=MS_BIND)
        if not writable_sys:
            _mount("none", root + point, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)
    return root


def other_mounts() -> list[str]:
    """Return the outermost mount points of the guest, but for those in _OWN_TREES."""
    with open("/proc/self/mountinfo") as file:  # noqa: PTH123 - as above
        points = sorted({line.split()[4].encode().decode("unicode_escape") for line in file})
    outermost: list[str] = []
    for point in points:
        if point == "/" or _within(point, _OWN_TREES) or _within(point, tuple(outermost)):
            continue
        outermost.append(point)
    return outermost


def mount_bind(root: str, bind: Bind) -> None:
    """Mount one volume, making its mount point where it is missing."""
    source, target = bind["source"], root + bind["target"]
    is_directory = os.path.isdir(source)  # noqa: PTH112 - as above
    try:
        if is_directory:
            os.makedirs(target, exist_ok=True)  # noqa: PTH103 - as above
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103,PTH120 - as above
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))
    except OSError as error:
        raise OSError(f"mountPath {bind['target']}: cannot be made: {error.strerror}") from error
    _mount(source, target, flags=MS_BIND | MS_REC)
    if bind["read_only"]:
        _mount("none", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def _within(point: str, trees: tuple[str, ...]) -> bool:
    return any(point == tree or point.startswith(tree + "/") for tree in trees)


def _join(cgroup: str) -> None:
    with open(f"{cgroup}/cgroup.procs", "w") as file:  # noqa: PTH123 - as above
        file.write("0")


def _detach_from_parent(output: int) -> None:
    """Give the process a session, default signals, and its own three standard streams."""
    os.setsid()
    # Python ignores the first two, the shim the others, and what is ignored stays so over exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.umask(0o022)


def _execute(argv: list[str], env: dict[str, str], working_dir: str) -> NoReturn:
    try:
        os.chdir(working_dir)
    except OSError as error:
        raise OSError(f"workingDir {working_dir}: {error.strerror}") from error
    try:
        os.execvpe(argv[0], argv, env)  # noqa: S606 - executing what the manifest says is the job
    except OSError as error:
        raise OSError(f"command {argv[0]!r}: {error.strerror}; PATH={env.get('PATH', '')}") from error


def _pivot(root: str) -> None:
    """Make `root` the root directory; pivot_root(2) allows both arguments to be the same."""
    os.chdir(root)
    number = SYS_PIVOT_ROOT[os.uname().machine]
    _call(_libc.syscall(number, b".", b"."), "pivot_root")
    _call(_libc.umount2(b".", MNT_DETACH), "detach the old root")
    os.chdir("/")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode())
    _call(result, f"mount {source} on {target}")


def _call(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    # The kubelet decides when containers end; a Ctrl-C in its terminal is not for them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # or every container could speak to the kubelet
    Shim(socket.socket(fileno=descriptor)).serve()
