"""Execute an emulated guest's idle time, so that its clock counts instructions and nothing else.

Under QEMU's `-icount shift=0,sleep=on` a guest that has nothing to do waits for its next timer by the
host's clock, and is late by what the host takes to wake up. That is right while files come from the host,
and wrong while something is measured. So this process, of the scheduler's idle class, then keeps the CPU
busy: with instructions that cost the host next to nothing (ten of the guest's seconds a second), and
giving way every 100 microseconds, for even a task of the idle class may have a slice before others.

Standard library only, run as `python -I -S idle.py`. It stops itself (SIGSTOP) as soon as it is ready, with
all files read that it needs of the host, and is stopped while nothing is measured.
"""

import ctypes
import mmap
import os
import signal

_NOPS = 500
"""QEMU translates at most 512 instructions together, and NOPs to nothing."""
_ROUNDS = 200
_SCHED_YIELD = 24  # of x86-64


def machine_code() -> bytes:
    """Return a loop without an end: so many NOPs, then sched_yield."""
    begin = b"\xb9" + _ROUNDS.to_bytes(4, "little")  # mov ecx, ROUNDS
    block = b"\x90" * _NOPS + b"\xff\xc9"  # nop ...; dec ecx
    again = b"\x0f\x85" + (-(len(block) + 6)).to_bytes(4, "little", signed=True)  # jnz block
    give_way = b"\xb8" + _SCHED_YIELD.to_bytes(4, "little") + b"\x0f\x05"  # mov eax, 24; syscall
    body = begin + block + again + give_way
    return body + b"\xe9" + (-(len(body) + 5)).to_bytes(4, "little", signed=True)  # jmp begin


def main() -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(machine_code())
    execute = ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    os.kill(os.getpid(), signal.SIGSTOP)
    execute()


if __name__ == "__main__":
    main()
