"""Names made of a stack's name, the region, and the current context: what the environment decides."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks.configuration import checks
from stacks.configuration.config import DEFAULT_REGION, _region, parse
from stacks.configuration.kubeconfig import current_context
from stacks.configuration.names import slug, zone_index
from stacks.errors import ConfigError

# Pulumi: letters, digits, hyphens, underscores and periods, at most 100.
stack_names = st.text("abcXYZ019-_.", min_size=1, max_size=100)


@hypothesis.settings(deadline=None)
@given(stack_names)
def test_every_stack_name_makes_valid_names(name: str) -> None:
    settings = parse({"platformStack": "a/b/c"}, stack=name, region="us-east-1")
    assert checks.dns_label(settings.slug) is None
    assert checks.dns_label(f"{settings.workload_namespace}-system") is None
    assert len(f"{settings.slug}-nodes-nodes-0123456") <= 63


@given(stack_names, stack_names)
def test_two_stacks_have_two_names(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


TAKEN = ("default", "kube", "monitoring")
namespaces = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?\Z")


@hypothesis.settings(deadline=None)
@given(namespaces, namespaces)
def test_two_namespaces_end_cluster_wide_names_in_two_ways(one: str, other: str) -> None:
    names = [one, other, f"drcio-{one}", "drcio"]
    found = {
        name: parse({"namespace": name}, stack="s", region="r").suffix for name in names if name not in TAKEN
    }
    assert len(set(found.values())) == len(found)
    assert found["drcio"] == ""


@pytest.mark.parametrize("name", ["dev", "drcio", "my-stack-2"])
def test_a_name_that_is_fine_is_kept(name: str) -> None:
    assert slug(name) == name


def test_namespace_leaves_room_for_the_controllers() -> None:
    with pytest.raises(ConfigError, match="expected at most 56"):
        parse({"namespace": "n" * 57}, stack="s", region="r")
    assert parse({"namespace": "n" * 56}, stack="s", region="r").workload_namespace == "n" * 56


def test_cluster_name_leaves_room_for_the_roles() -> None:
    with pytest.raises(ConfigError, match="expected at most 39"):
        parse({"cluster": '{"name": "%s"}' % ("n" * 40)}, stack="s", region="r")


def test_region_is_the_one_that_the_provider_takes() -> None:
    both = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-north-1"}
    assert _region("us-west-2", both) == "us-west-2"
    assert _region(None, both) == "eu-west-1"
    assert _region(None, {"AWS_DEFAULT_REGION": "eu-north-1", "AWS_REGION": ""}) == "eu-north-1"
    assert _region(None, {}) == DEFAULT_REGION


def test_current_context_is_the_first_files_that_names_one(tmp_path: Path) -> None:
    empty, first, second = (tmp_path / name for name in ("empty", "first", "second"))
    empty.write_text("clusters: []\n")
    first.write_text("current-context: one\n")
    second.write_text("current-context: two\n")
    files = ":".join(str(path) for path in (tmp_path / "missing", empty, first, second))
    assert current_context({"KUBECONFIG": files}) == "one"
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("current-context: home\n")
    assert current_context({"HOME": str(tmp_path)}) == "home"
    assert current_context({"KUBECONFIG": str(tmp_path / "missing"), "HOME": str(tmp_path)}) == ""


@given(stack_names)
def test_a_stacks_nodes_are_in_one_zone_that_every_platform_has(name: str) -> None:
    assert zone_index(name) in (0, 1)
    assert zone_index(name) == zone_index(name)
