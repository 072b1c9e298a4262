"""Tells what a run was measured on and with."""

import os
import platform
import re
import sys
import sysconfig
from importlib import metadata
from pathlib import Path


def _cpu():
    """Return the CPU's model and its frequency now, as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    frequencies = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text, re.MULTILINE)]
    said = model[1] if model else platform.processor() or platform.machine()
    if frequencies:
        said += f" at {min(frequencies):.0f} to {max(frequencies):.0f} MHz"
    return f"{said}, {os.cpu_count()} CPUs"


def _governor():
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return "unknown"


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def describe(packages):
    """Return {what: in words} of the machine, the interpreter, and the named packages."""
    build = [option for option in ("optimizations", "lto") if option in (sysconfig.get_config_var("CONFIG_ARGS") or "")]
    return {
        "CPU": _cpu(),
        "CPU governor": _governor(),
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": platform.platform(),
        "Python": f"{sys.version} ({', '.join(build) or 'no'} optimisations beyond -O3)",
        **{package: _version(package) for package in packages},
    }
