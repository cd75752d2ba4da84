"""A part that a scenario may have: when it goes, it goes at once, and not after the program has ended."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s

from components.kubernetes import Destination, in_cluster, metadata_of


class Presence(pulumi.ComponentResource):
    """A ConfigMap that says whether a part is there, always declared; the part is made from its output.

    Pulumi deletes what a program no longer declares after the program has ended (pulumi/pulumi#2877),
    hence after the experiment, which would measure beside it. What is replaced by deletion first is
    another matter: Pulumi deletes it, and before it everything that was made from its outputs, where it
    stands in the graph, and waits for each deletion. So the marker's name changes when the part comes or
    goes, the part is made from the marker (`tie`), and whatever must not meet the part's remains waits
    for the marker (docs/decisions/0002-scenario-switch.md).
    """

    def __init__(self, part: str, app: str, namespace: str, where: Destination, *, present: bool) -> None:
        name = f"{part}-presence"
        super().__init__("drcio:workloads:Presence", name, {}, where.options)
        state = "present" if present else "absent"
        self._marker = k8s.core.v1.ConfigMap(
            name,
            metadata=metadata_of(app, namespace, name=f"{app}-{state}"),
            opts=in_cluster(self, where, replace_first=True),
        )
        self.register_outputs({"marker": self._marker.id})

    def tie(self, text: str) -> pulumi.Output[str]:
        """Return a text as made from the marker, for a property that cannot change without replacement."""
        return self._marker.id.apply(lambda _: text)
