"""Runs one process a peer, case and repeat, taking turns: A B A B, so that what disturbs the machine disturbs all alike."""

import json
import os
import subprocess
import sys

TIMEOUT_S = 60
MISSING = "missing"
# What would slow down some loops and not others, or fill the output.
UNWANTED = {"PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC"}


def run_worker(command):
    """Return what the worker says in its last line: the result, or in words why there is none."""
    environment = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    try:
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=TIMEOUT_S, env=environment
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return f"fails: {lines[-1]}"
    result = json.loads(done.stdout.splitlines()[-1])
    return MISSING if result is None else result


def run_interleaved(plan, repeats, progress):
    """Run a plan, {case: {peer: command}}, `repeats` times over, and return {case: {peer: list of results, or the failure}}.

    A peer that fails in a case, or is not installed, is not tried again. `progress` is called with each (repeat, case).
    """
    results = {case: {peer: [] for peer in commands} for case, commands in plan.items()}
    for repeat in range(repeats):
        for case, commands in plan.items():
            progress(repeat, case)
            for peer, command in commands.items():
                so_far = results[case][peer]
                if isinstance(so_far, str):
                    continue
                result = run_worker(command)
                if isinstance(result, str):
                    results[case][peer] = result
                else:
                    so_far.append(result)
    return results
