"""The figures of one case, and how they compare."""

import statistics

from .case import OURS


class Row:
    """What was measured of one case.

    `rounds` is {peer: [{figure: number}, one a round]}; the rounds of all peers were
    run in turns, so those with one index are neighbours. `failures` is {peer: words}.
    """

    def __init__(self, peers, shown):
        self.rounds = {peer: [] for peer in peers}
        self.failures = {}
        self._shown = shown

    def add(self, workers):
        for peer, worker in workers.items():
            if worker.failure is None:
                self.rounds[peer] += worker.rounds
            else:
                self.failures[peer] = worker.failure
                self.rounds[peer] = []

    def shown(self, peer):
        """Return the figure that belongs into the table, of each round."""
        return [figures[self._shown] for figures in self.rounds[peer]]

    def median(self, peer, figure=None):
        return statistics.median(
            figures[figure or self._shown] for figures in self.rounds[peer]
        )

    def best_peer(self):
        measured = [peer for peer in self.rounds if peer != OURS and self.rounds[peer]]
        return min(measured, key=self.median, default=None)

    def ratios(self, peer):
        """Return the quartiles of ours/peer, of neighbouring rounds, or None."""
        pairs = zip(self.shown(OURS), self.shown(peer))
        ratios = [ours / theirs for ours, theirs in pairs]
        if not ratios:
            return None
        if len(ratios) == 1:
            return ratios * 3
        return statistics.quantiles(ratios, method="inclusive")

    def cell(self, peer, divisor=1, digits=0):
        if not self.rounds[peer]:
            return self.failures[peer].partition(":")[0]
        return f"{self.median(peer) / divisor:.{digits}f}"
