"""The figures of one case, and how they compare."""

import statistics

from .case import FLOOR, OURS


def _user_and_system(rounds):
    """Return the parts of the median CPU time.

    The kernel counts it exactly as a whole; the parts are in proportion to how often
    either was seen.
    """
    user = sum(figures["user"] for figures in rounds)
    system = sum(figures["system"] for figures in rounds)
    whole = statistics.median(figures["process"] for figures in rounds)
    share = user / ((user + system) or 1)
    return whole * share, whole * (1 - share)


def _quotients(ours, theirs):
    """Return the quartiles of the quotients of neighbours, or None.

    A zero was too short to be measured.
    """
    ratios = [one / other for one, other in zip(ours, theirs) if one and other]
    if not ratios:
        return None
    if len(ratios) == 1:
        return ratios * 3
    return statistics.quantiles(ratios, method="inclusive")


class Row:
    """What was measured of one case.

    `rounds` is {peer: [{figure: number}, one a round]}; the rounds of all peers were
    run in turns, so those with one index are neighbours. `processes` is the same with
    a list for the rounds of each process. `failures` is {peer: words}.
    """

    def __init__(self, peers, shown):
        self.rounds = {peer: [] for peer in peers}
        self.processes = {peer: [] for peer in peers}
        self.failures = {}
        self._shown = shown

    def add(self, workers):
        for peer, worker in workers.items():
            if worker.failure is None:
                self.rounds[peer] += worker.rounds
                self.processes[peer].append(worker.rounds)
            else:
                self.failures[peer] = worker.failure
                self.rounds[peer] = []
                self.processes[peer] = []

    def shown(self, peer, figure=None):
        """Return the figure that belongs into the table, of each round, or another."""
        return [figures[figure or self._shown] for figures in self.rounds[peer]]

    def median(self, peer, figure=None):
        return statistics.median(self.shown(peer, figure))

    def user_and_system(self, peer):
        """Return the two parts of the median CPU time of the process."""
        return _user_and_system(self.rounds[peer])

    def best_peer(self, value=None):
        """Return the peer whose median, or whose `value(peer)`, is the least."""
        measured = [
            peer
            for peer, rounds in self.rounds.items()
            if rounds and peer not in (OURS, FLOOR)
        ]
        return min(measured, key=value or self.median, default=None)

    def ratios(self, peer, figure=None):
        """Return the quartiles of ours/peer, of neighbouring rounds, or None."""
        return _quotients(self.shown(OURS, figure), self.shown(peer, figure))

    def user_ratios(self, peer):
        """Return the same of the user's CPU time, and of whole processes: a round is
        too short to tell it."""
        ours, theirs = (
            [_user_and_system(rounds)[0] for rounds in self.processes[name]]
            for name in (OURS, peer)
        )
        return _quotients(ours, theirs)

    def cell(self, peer, divisor=1, digits=0):
        if not self.rounds[peer]:
            return self.failures[peer].partition(":")[0]
        return f"{self.median(peer) / divisor:.{digits}f}"
