"""What the program asks a cloud without making anything."""

from __future__ import annotations

import time

from tests.engine.cloud.account import ACCOUNT_ID, Account, Properties, Refused
from tests.engine.cloud.kubernetes import addon_version, cluster_named
from tests.engine.cloud.network import zones

INSTANCE_FAMILIES = ("t3", "m5", "m6i", "m7i", "c6i", "r6i", "i4i", "g4dn")
"""Of those that us-east-1 has (EC2 instance types), enough for the bench."""


def answer(account: Account, token: str, args: Properties) -> Properties:
    """Return what the function returns; one that is not in the table is refused.

    Raises:
        Refused: the stand-in does not know the function.
    """
    match token:
        case "aws:index/getAvailabilityZones:getAvailabilityZones":
            return _zones(account, args)
        case "aws:ecr/getAuthorizationToken:getAuthorizationToken":
            # Another one each time, as the service answers.
            return {
                "id": account.region,
                "userName": "AWS",
                "password": f"token-{time.time_ns()}",
                "authorizationToken": f"QVdT-{time.time_ns()}",
                "expiresAt": "2100-01-01T00:00:00Z",
                "proxyEndpoint": f"https://{ACCOUNT_ID}.dkr.ecr.{account.region}.amazonaws.com",
            }
        case "aws:eks/getAddonVersion:getAddonVersion":
            version = addon_version(str(args["addonName"]), args["kubernetesVersion"])
            return {**args, "id": args["addonName"], "version": version}
        case "aws:eks/getClusters:getClusters":
            names = [held.get("name") for held in account.of("Cluster")]
            return {"id": account.region, "names": names, "region": account.region}
        case "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings":
            return _offerings(args)
        case "aws:eks/getCluster:getCluster":
            return {**cluster_named(account, args["name"]).outputs, "id": args["name"]}
        case "aws:index/getCallerIdentity:getCallerIdentity":
            arn = f"arn:aws:iam::{ACCOUNT_ID}:user/bench"
            return {"id": ACCOUNT_ID, "accountId": ACCOUNT_ID, "arn": arn, "userId": "AIDA"}
        case "aws:index/getRegion:getRegion":
            return {"id": account.region, "name": account.region, "region": account.region}
        case "aws:index/getPartition:getPartition":
            return {"id": "aws", "partition": "aws", "dnsSuffix": "amazonaws.com"}
    raise Refused(
        f"the bench's stand-in does not know the function {token}; add it to tests/engine/cloud/invokes.py"
    )


def _offerings(args: Properties) -> Properties:
    (wanted,) = (it["values"] for it in args["filters"] if it["name"] == "instance-type")
    found = [it for it in wanted if it.partition(".")[0] in INSTANCE_FAMILIES]
    return {**args, "id": "offerings", "instanceTypes": found, "locations": [], "locationTypes": []}


def _zones(account: Account, args: Properties) -> Properties:
    filters = {it["name"]: it["values"] for it in args.get("filters") or ()}
    only_plain = filters.get("opt-in-status") == ["opt-in-not-required"]
    only_plain = only_plain or filters.get("zone-type") == ["availability-zone"]
    found = [
        (name, zone)
        for name, zone in zones(account.region, with_local=account.in_local_zone and not only_plain)
        if zone not in (args.get("excludeZoneIds") or ()) and name not in (args.get("excludeNames") or ())
    ]
    return {
        **args,
        "id": account.region,
        "names": [name for name, _ in found],
        "zoneIds": [zone for _, zone in found],
        "groupNames": [account.region],
    }
