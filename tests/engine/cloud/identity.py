"""IAM, KMS and CloudWatch Logs."""

from __future__ import annotations

from tests.engine.cloud.account import ACCOUNT_ID, Account, Held, Properties, Refused
from tests.engine.cloud.rules import Kind

MANAGED_POLICIES = frozenset(
    {
        "AmazonEKSClusterPolicy",
        "AmazonEKSWorkerNodePolicy",
        "AmazonEKSWorkerNodeMinimalPolicy",
        "AmazonEKS_CNI_Policy",
        "AmazonEKSServicePolicy",
        "AmazonEKSVPCResourceController",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEC2ContainerRegistryReadOnly",
        "AmazonEC2ContainerRegistryPowerUser",
        "AmazonSSMManagedInstanceCore",
        "CloudWatchAgentServerPolicy",
        "AmazonEBSCSIDriverPolicyV2",
        "AmazonEBSCSIDriverEKSClusterScopedPolicy",
        "service-role/AmazonEBSCSIDriverPolicy",
        "service-role/AmazonEFSCSIDriverPolicy",
    }
)
"""Path and name under arn:aws:iam::aws:policy/. Source: AWS Managed Policy Reference, one page each; whether
a policy stands under service-role/ is part of its ARN there."""


class Role(Kind):
    """Source of what replaces: Terraform registry, aws_iam_role."""

    token, prefix = "aws:iam/role:Role", "AROA"
    forces_new = frozenset({"name", "namePrefix", "path"})
    autonamed = "name"
    computed_names = ("arn", "uniqueId")

    def computed(self, account: Account, held: Held) -> Properties:
        return {"arn": f"arn:aws:iam::{ACCOUNT_ID}:role/{held.get('name')}", "uniqueId": held.id}

    def create(self, account: Account, held: Held) -> None:
        """Source: IAM API reference, CreateRole: EntityAlreadyExists; names up to 64 characters."""
        name = str(held.get("name"))
        if len(name) > 64:
            raise Refused(
                f"ValidationError: 1 validation error detected: roleName '{name}' has length over 64"
            )
        if account.find("Role", name=name):
            raise Refused(f"EntityAlreadyExists: Role with name {name} already exists.")

    def delete(self, account: Account, held: Held) -> None:
        """Source: IAM API reference, DeleteRole: DeleteConflict while policies are attached."""
        if any(it.get("role") == held.get("name") for it in account.of("RolePolicyAttachment")):
            raise Refused("DeleteConflict: Cannot delete entity, must detach all policies first.")


class RolePolicyAttachment(Kind):
    """Source of what replaces: Terraform registry, aws_iam_role_policy_attachment."""

    token, prefix = "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "attach"
    forces_new = frozenset({"role", "policyArn"})
    computed_names = ()

    def create(self, account: Account, held: Held) -> None:
        """Source: IAM API reference, AttachRolePolicy: NoSuchEntity."""
        arn = str(held.get("policyArn"))
        managed = arn.removeprefix("arn:aws:iam::aws:policy/")
        if managed != arn and managed not in MANAGED_POLICIES:
            raise Refused(f"NoSuchEntity: Policy {arn} does not exist or is not attachable.")
        if managed == arn and not account.find("Policy", arn=arn):
            raise Refused(f"NoSuchEntity: Policy {arn} does not exist or is not attachable.")
        if not account.find("Role", name=held.get("role")):
            raise Refused(f"NoSuchEntity: The role with name {held.get('role')} cannot be found.")


class Policy(Kind):
    """Source of what replaces: Terraform registry, aws_iam_policy."""

    token, prefix = "aws:iam/policy:Policy", "ANPA"
    forces_new = frozenset({"name", "namePrefix", "path", "description"})
    autonamed = "name"

    def computed(self, account: Account, held: Held) -> Properties:
        return {"arn": f"arn:aws:iam::{ACCOUNT_ID}:policy/{held.get('name')}"}

    def delete(self, account: Account, held: Held) -> None:
        """Source: IAM API reference, DeletePolicy: DeleteConflict while it is attached."""
        if any(it.get("policyArn") == held.get("arn") for it in account.of("RolePolicyAttachment")):
            raise Refused("DeleteConflict: Cannot delete a policy attached to entities.")


class RolePolicy(Kind):
    """Source of what replaces: Terraform registry, aws_iam_role_policy."""

    token, prefix = "aws:iam/rolePolicy:RolePolicy", "rolepolicy"
    forces_new = frozenset({"name", "namePrefix", "role"})
    autonamed = "name"
    computed_names = ()


class Key(Kind):
    """Source of what replaces: Terraform registry, aws_kms_key. A deleted key waits out its window, at no
    cost.
    """

    token, prefix = "aws:kms/key:Key", "key"
    forces_new = frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion", "customKeyStoreId"})
    computed_names = ("arn", "keyId")

    def computed(self, account: Account, held: Held) -> Properties:
        return {"arn": f"arn:aws:kms:{account.region}:{ACCOUNT_ID}:key/{held.id}", "keyId": held.id}

    def create(self, account: Account, held: Held) -> None:
        """Source: KMS API reference, ScheduleKeyDeletion: a window of 7 to 30 days."""
        window = int(held.get("deletionWindowInDays") or 30)
        if not 7 <= window <= 30:
            raise Refused(f"ValidationException: PendingWindowInDays is {window}; valid range is 7 to 30")

    def delete(self, account: Account, held: Held) -> None:
        """A cluster whose key is gone can't be repaired.

        Source: EKS user guide, "Encrypt Kubernetes secrets with KMS": "if you delete the KMS key, there's
        no path to recovery for the cluster".
        """
        for cluster in account.of("Cluster"):
            if (cluster.get("encryptionConfig") or {}).get("provider", {}).get("keyArn") == held.get("arn"):
                raise Refused(
                    f"the secrets of cluster {cluster.get('name')} are encrypted by {held.get('arn')}"
                )


class LogGroup(Kind):
    """Source of what replaces: Terraform registry, aws_cloudwatch_log_group."""

    token, prefix = "aws:cloudwatch/logGroup:LogGroup", "log"
    forces_new = frozenset({"name", "namePrefix", "logGroupClass"})
    autonamed = "name"

    def create(self, account: Account, held: Held) -> None:
        """Source: CloudWatch Logs API reference, CreateLogGroup: ResourceAlreadyExistsException."""
        if held.get("name") in account.log_groups or account.find("LogGroup", name=held.get("name")):
            raise Refused("ResourceAlreadyExistsException: The specified log group already exists")


KINDS = (Role, RolePolicyAttachment, Policy, RolePolicy, Key, LogGroup)
