"""Pictures that Graphviz places: columns by rank, wires bent round what is in their way."""

from __future__ import annotations

import graphviz
import networkx as nx

from cellc.views.page import Page
from cellc.views.wires import things_told, wire_looks

_GRAPH = {"rankdir": "LR", "nodesep": "0.22", "ranksep": "0.38"}


def ranked(title: str, picture: nx.DiGraph[str], page: Page) -> str:
    """The picture as Graphviz source, for ``dot`` to place."""
    canvas, things, wires = page.colours.defaults
    graph = graphviz.Digraph(title, graph_attr=canvas | _GRAPH, node_attr=things, edge_attr=wires)
    keys = {key: f"n{number}" for number, key in enumerate(picture)}
    for key, item in picture.nodes(data=True):
        graph.node(
            keys[key],
            **things_told(key, item),
            **page.colours.looks(item["role"], item.get("kind", ""), item.get("mark", "")),
        )
    for source, target, wire in picture.edges(data=True):
        looks = wire_looks(page.colours, picture, source, target)
        looks |= {"headlabel": wire["slot"]} if wire["slot"] else {}
        looks |= {"label": f"<{wire['label']}>"} if wire.get("label") else {}
        graph.edge(keys[source], keys[target], **looks)
    for rank, role in (("source", "input"), ("sink", "output")):
        column = [key for key in picture if picture.nodes[key]["role"] == role]
        with graph.subgraph(graph_attr={"rank": rank}) as side:
            for key in column:
                side.node(keys[key])
    return str(graph.source)
