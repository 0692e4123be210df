"""Cycles in a graph: one example for each knot of nodes that can all reach each other.

Linear and without recursion (Kosaraju's algorithm with its own stack), so neither the size nor the depth of a graph
matters.
"""

from collections.abc import Iterable, Iterator, Mapping


def find_cycles(edges: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Return a shortest cycle through the first node of each knot, in the order of `edges`.

    Args:
        edges: the nodes that each node points to; nodes without an entry point nowhere.

    Returns:
        Cycles such that each member points to the next one and the last one to the first one.
    """
    place = {node: number for number, node in enumerate(edges)}
    found = []
    for knot in _knots(edges):
        first = min(knot, key=lambda node: place[node])
        if len(knot) > 1 or first in edges[first]:
            found.append(_cycle(edges, first, knot))
    return sorted(found, key=lambda cycle: place[cycle[0]])


def _knots(edges: Mapping[str, Iterable[str]]) -> Iterator[frozenset[str]]:
    """Yield the strongly connected components: what is reached backwards, from the node that is left last."""
    backwards: dict[str, list[str]] = {node: [] for node in edges}
    for node, targets in edges.items():
        for target in targets:
            if target in backwards:
                backwards[target].append(node)
    taken: set[str] = set()
    for root in reversed(_left_order(edges)):
        if root in taken:
            continue
        taken.add(root)
        knot, ready = {root}, [root]
        while ready:
            for node in backwards[ready.pop()]:
                if node not in taken:
                    taken.add(node)
                    knot.add(node)
                    ready.append(node)
        yield frozenset(knot)


def _left_order(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes in the order in which a depth-first walk leaves them."""
    order: list[str] = []
    entered: set[str] = set()
    for root in edges:
        if root in entered:
            continue
        entered.add(root)
        walk = [(root, iter(edges[root]))]
        while walk:
            node, targets = walk[-1]
            following = next((target for target in targets if target in edges and target not in entered), None)
            if following is None:
                order.append(node)
                walk.pop()
            else:
                entered.add(following)
                walk.append((following, iter(edges[following])))
    return order


def _cycle(edges: Mapping[str, Iterable[str]], first: str, knot: frozenset[str]) -> tuple[str, ...]:
    """Return a shortest way from `first` back to it; there is one, since it is in a knot."""
    came: dict[str, str] = {}
    front = [first]
    while True:
        following: list[str] = []
        for node in front:
            for target in edges[node]:
                if target == first:
                    way = [node]
                    while way[-1] != first:
                        way.append(came[way[-1]])
                    return tuple(reversed(way))
                if target in knot and target not in came:
                    came[target] = node
                    following.append(target)
        front = following
