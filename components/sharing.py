"""A cluster that several stacks use: the one that owns it is not destroyed under the others.

`pulumi destroy` runs no program that could refuse, so the API server does: the owner's last object, which
destroy takes first, is a mark that every other stack forbids to delete while it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from components.kubernetes import Destination, as_args, in_cluster

MARK: Final = "drcio-shared-platform"


class PlatformMark(pulumi.ComponentResource):
    """The owner's mark; everything else of its stack is made before it, and so destroyed after it."""

    def __init__(
        self, name: str, namespace: str, where: Destination, everything: Sequence[pulumi.Resource]
    ) -> None:
        super().__init__("drcio:sharing:PlatformMark", name, {}, where.options)
        mark = k8s.core.v1.ConfigMap(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=MARK, namespace=namespace),
            data={"about": "Stacks that share this cluster forbid to delete this while they are there."},
            opts=in_cluster(self, where, *everything),
        )
        self.register_outputs({"mark": mark.id})


class PlatformUser(pulumi.ComponentResource):
    """A stack's objection to the end of the cluster that it uses."""

    def __init__(self, name: str, stack: str, suffix: str, where: Destination) -> None:
        super().__init__("drcio:sharing:PlatformUser", name, {}, where.options)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=f"drcio-uses-platform{suffix}")
        policy = k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=as_args(
                k8s.admissionregistration.v1.ValidatingAdmissionPolicySpecArgs,
                {
                    "failurePolicy": "Fail",
                    "matchConstraints": {
                        "resourceRules": [
                            {
                                "apiGroups": [""],
                                "apiVersions": ["v1"],
                                "resources": ["configmaps"],
                                "resourceNames": [MARK],
                                "operations": ["DELETE"],
                            }
                        ]
                    },
                    "validations": [
                        {
                            "expression": "false",
                            "message": f"stack {stack} still uses this cluster; "
                            f"hint: pulumi destroy --stack {stack} first",
                        }
                    ],
                },
            ),
            opts=in_cluster(self, where),
        )
        binding = k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            f"{name}-binding",
            metadata=metadata,
            spec=as_args(
                k8s.admissionregistration.v1.ValidatingAdmissionPolicyBindingSpecArgs,
                {"policyName": f"drcio-uses-platform{suffix}", "validationActions": ["Deny"]},
            ),
            opts=in_cluster(self, where, policy),
        )
        self.register_outputs({"binding": binding.id})
