"""Tells what a run was measured on and with."""

import os
import platform
import re
import resource
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def find_ours():
    """Let trio_asyncio_c be imported: the installed one, else this checkout's."""
    sys.path.append(str(ROOT))


def build_folder():
    """Return the folder for what is compiled, which is one for each C library."""
    folder = ROOT / "build" / "-".join(["benchmarks", *platform.libc_ver()])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _cpu():
    """Return the CPU's model and its frequency now, as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    frequencies = [
        float(value)
        for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text, re.MULTILINE)
    ]
    words = model[1] if model else platform.processor() or platform.machine()
    if frequencies:
        words += f", {min(frequencies):.0f} to {max(frequencies):.0f} MHz"
    return f"{words}, {os.cpu_count()} CPUs"


def _governor():
    try:
        return (
            Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            .read_text()
            .strip()
        )
    except OSError:
        return "unknown"


def _python():
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimised = [
        name
        for flag, name in (("--enable-optimizations", "PGO"), ("--with-lto", "LTO"))
        if flag in options
    ]
    return f"{sys.version}, {' and '.join(optimised) or 'neither PGO nor LTO'}"


def _ours():
    find_ours()
    import trio_asyncio_c

    return f"{trio_asyncio_c.__version__}, {trio_asyncio_c._core.__file__}"


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def describe(packages):
    """Return {what: words} of machine, interpreter, this project, named packages."""
    return {
        "CPU": _cpu(),
        "CPU governor": _governor(),
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": platform.platform(),
        "Python": _python(),
        "trio_asyncio_c": _ours(),
        **{package: _version(package) for package in packages},
    }


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_bytes():
    """Return the most memory that this process had resident.

    Not getrusage's figure, which includes what its parent had when it was made.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)[1]) * 1024


def can_open_files(count):
    """Return whether this process may have `count` files open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard == resource.RLIM_INFINITY or hard >= count


def allow_open_files(count):
    """Raise this process's limit of open files to `count`, if it is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def keep_away(pid):
    """Pin the other process to another CPU than `keep_here` pins one to.

    These do nothing where processes cannot be pinned.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})


def keep_here():
    """Pin this process to one CPU."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def keep_apart(pid):
    """Pin this process to one CPU and the other process to another."""
    keep_away(pid)
    keep_here()


def keep_together(pid):
    """Let the other process run where this one does."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, os.sched_getaffinity(0))
