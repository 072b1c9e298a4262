"""PostgreSQL and Redis for bench_net, as the tests start them: the script starts
them, and the processes that measure their clients find them."""

import contextlib
import os
import sys

from shared.machine import ROOT, find_ours, keep_away

VARIABLE = "BENCH_NET_{}"


def _starters():
    """Return {name: what makes a context manager that gives an address}."""
    find_ours()
    folder = str(ROOT / "tests")
    if folder not in sys.path:
        sys.path.append(folder)
    from _real import servers

    return {"postgres": servers.postgres, "redis": servers.redis}, servers


@contextlib.contextmanager
def serving(name):
    """Run the block beside the server of that name, None: beside none.

    Gives in words why it cannot be had, or None.
    """
    if name is None:
        yield None
        return
    starters, servers = _starters()
    with contextlib.ExitStack() as stack:
        try:
            address = stack.enter_context(starters[name]())
        except servers.CannotStart as exc:
            yield str(exc)
            return
        # The processes for its connections inherit it.
        keep_away(address.pid)
        variable = VARIABLE.format(name)
        os.environ[variable] = str(address.port)
        stack.callback(os.environ.pop, variable)
        yield None


def port_of_service(name):
    """Return where the server of that name is, in a process that measures."""
    return int(os.environ[VARIABLE.format(name)])
