"""The how-to pages name keys that exist and commands that this program has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stacks.config import parse
from stacks.dryrun import ROOT
from stacks.keys import keys_of
from stacks.settings import Settings
from stacks.testing import render

PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
KEYS = {key.path: key for key in keys_of(Settings)}
MENTION = re.compile(r"drcio:([a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)*)")
SETTING = re.compile(r"pulumi config set (?:--path )?'?drcio:([\w.]+)'? '?([^\s'&`]+)'?")
EXISTING = {"platform": "existing", "images": '{"push": "false"}'}
BESIDE = {
    "platform": EXISTING,
    "kubeContext": EXISTING,
    "workloads.enabled": EXISTING,
    "service.priority": {"ioWeights": '{"critical": 5000}'},
}
"""What else the page sets with it."""
TOPICS = {
    "deploy.md": ("Set up", "Tear down", "without an account", "own cluster"),
    "images.md": ("Only one", "without pushing"),
    "scenarios.md": ("without the controller", "Several nodes", "Share one cluster"),
    "observe.md": ("Grafana", "Prometheus", "Logs", "Export metrics"),
    "save-money.md": ("Spot", "t3.xlarge"),
    "tune.md": ("Weights and classes", "exist already", "Service", "Batch job", "Controller"),
    "troubleshoot.md": (
        "cluster is not created",
        "Cannot connect",
        "Pods do not start",
        "image cannot be pulled",
        "controller has no effect",
        "Grafana",
        "Metrics are missing",
    ),
}


def base_of(path: str) -> str:
    """Return the key that a mention belongs to: an entry of a map belongs to the map."""
    return path if path in KEYS else path.rpartition(".")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_key_that_a_page_names_exists(page: Path) -> None:
    sections = {path.split(".")[0] for path in KEYS}
    unknown = [
        path
        for path in MENTION.findall(page.read_text())
        if base_of(path) not in KEYS and path not in sections
    ]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_value_that_a_page_sets_is_accepted(page: Path) -> None:
    for path, value in SETTING.findall(page.read_text()):
        if "..." in value:
            continue
        top, *rest = path.split(".")
        tree = value
        for part in reversed(rest):
            tree = json.dumps({part: tree if tree == value else json.loads(tree)})
        parse({**BESIDE.get(path, {}), top: tree}, stack="docs", region="us-east-1")


@pytest.mark.parametrize("name", TOPICS)
def test_every_promised_topic_has_its_place(name: str) -> None:
    text = (ROOT / "docs" / "how-to" / name).read_text()
    assert [topic for topic in TOPICS[name] if topic not in text] == []


def test_every_output_that_a_page_reads_exists() -> None:
    outputs = set(render("drcio").outputs)
    named = {name for page in PAGES for name in re.findall(r"pulumi stack output (\w+)", page.read_text())}
    assert named
    assert named <= outputs


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+\.md)\)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
