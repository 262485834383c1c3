"""Quorums: is this set of servers enough? Any two sets that are must have a member in common.

    majority       more than half of the voters
    hierarchical   voters in groups, each with a weight: more than half of the weight in more than half of the groups

Sources: QuorumMaj, QuorumHierarchical.
"""

from collections.abc import Collection, Mapping

import attrs


class Majority:
    """Every voter counts one."""

    __slots__ = ("voters",)

    def __init__(self, voters: Collection[int]) -> None:
        self.voters = frozenset(voters)

    def weight(self, sid: int) -> int:
        """What the voter weighs: 0 means that it cannot be elected."""
        return 1 if sid in self.voters else 0

    def has_quorum(self, sids: Collection[int]) -> bool:
        """Are these enough? Whoever is no voter does not count."""
        return 2 * len(self.voters.intersection(sids)) > len(self.voters)


class Hierarchical:
    """Voters in groups, with weights. A group that weighs nothing does not count."""

    __slots__ = ("_groups", "_weights", "voters")

    def __init__(self, groups: Mapping[int, Collection[int]], weights: Mapping[int, int]) -> None:
        """`groups`: group → its sids; `weights`: sid → weight, 1 where nothing is said."""
        self._groups = [tuple(sids) for sids in groups.values()]
        self._weights = {sid: weights.get(sid, 1) for sids in self._groups for sid in sids}
        self.voters = frozenset(self._weights)
        assert sum(map(len, self._groups)) == len(self.voters), "a server in two groups"

    def weight(self, sid: int) -> int:
        """What the voter weighs: 0 means that it cannot be elected."""
        return self._weights.get(sid, 0)

    def has_quorum(self, sids: Collection[int]) -> bool:
        """Are these enough? Whoever is no voter does not count."""
        weights = self._weights
        counted = won = 0
        for group in self._groups:
            total = sum([weights[sid] for sid in group])
            if total > 0:
                counted += 1
                won += 2 * sum([weights[sid] for sid in group if sid in sids]) > total
        return 2 * won > counted


@attrs.frozen
class Ensemble:
    """Who the members are. The voters are the quorum's; all others that are told of are observers.

    `text` is the configuration as notifications and NEWLEADER carry it (QuorumVerifier.toString, UTF-8): Apache's
    servers parse it, and one that is empty or wrong ends their election. `version` is the one that it names.
    """

    quorum: Majority | Hierarchical
    observers: frozenset[int]
    text: bytes
    version: int = 0

    def has_voter(self, sid: int) -> bool:
        """Does this server vote?"""
        return sid in self.quorum.voters
