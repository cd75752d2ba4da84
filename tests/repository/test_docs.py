"""The pages name keys that exist and commands that run.

Where a command is run: `pulumi` and `kubectl` by tests/engine, `make demo` and `make test` by CI itself,
`docker build` by test_images.py, those in the agent's container by test_runbooks.py, the rest here.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from experiments.commands.cli import build_parser
from stacks.configuration.config import parse
from stacks.configuration.keys import keys_of
from stacks.configuration.settings import Settings
from stacks.preview.dryrun import ROOT
from stacks.render import main as render_stack
from tests.pages import PAGES as ALL_PAGES
from tests.pages import PROGRAMS, Command, commands
from tests.stacks.dryruns import render

PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pulumi_eks's own import
COMMANDS = commands()
DIGEST = f"registry.example/image@sha256:{'0' * 64}"
KEYS = {key.path: key for key in keys_of(Settings)}
MENTION = re.compile(r"drcio:([a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)*)")
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
        "`make demo` or `make look` fails",
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


def of(*words: str) -> list[Command]:
    """Return the pages' commands that begin with these words, which must be some."""
    found = [command for command in COMMANDS if command.words[: len(words)] == words]
    assert found
    return found


def without(command: Command, *options: str) -> list[str]:
    return [word for word in command.words if word not in options]


@pytest.mark.parametrize("command", of("pulumi", "config", "set"), ids=str)
def test_every_value_that_a_page_sets_is_accepted(command: Command) -> None:
    key, value = without(command, "--path")[3:]
    namespace, _, path = key.partition(":")
    if "..." in value:
        value = DIGEST
    if namespace == "aws":
        assert key == "aws:region"
        return
    top, *rest = path.split(".")
    tree = value
    for part in reversed(rest):
        tree = json.dumps({part: tree if tree == value else json.loads(tree)})
    parse({**BESIDE.get(path, {}), top: tree}, stack="docs", region="us-east-1")


@pytest.mark.parametrize("command", of("python", "-m", "stacks.render"), ids=str)
def test_every_rendering_that_a_page_names_is_made(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert render_stack([word.replace("...", DIGEST) for word in command.words[3:]]) == 0


@pytest.mark.parametrize("command", of("python", "-m", "experiments"), ids=str)
def test_every_experiment_that_a_page_names_is_one_that_can_be_asked_for(command: Command) -> None:
    assert callable(build_parser().parse_args(command.words[3:]).command)


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_every_target_that_a_page_names_is_made_by_make(command: Command) -> None:
    words = [word.replace("...", "0" * 64) for word in command.words[1:]]
    done = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [*of("docker", "build"), *of("pytest"), *of("pip")], ids=str)
def test_every_path_that_another_command_names_exists(command: Command) -> None:
    paths = [
        word for word in command.words if word.endswith((".py", ".txt", "Dockerfile")) or "images/" in word
    ]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_image_that_a_page_pushes_or_asks_about_is_built_there() -> None:
    built = {(it.page, it.words[it.words.index("-t") + 1]) for it in of("docker", "build")}
    others = [it for it in of("docker") if it.words[1] != "build"]
    assert others
    assert [str(it) for it in others if (it.page, it.words[-1]) not in built] == []


def test_no_page_names_a_program_that_no_test_knows() -> None:
    """A line of a block that looks like a command has one of the known programs in front."""
    looks_like = re.compile(
        r"^ {4}(?:sudo )?([a-z][a-z0-9-]+) (?:-{1,2}[a-z]|[a-z]+ -{1,2}[a-z])", re.MULTILINE
    )
    named = {name for page in ALL_PAGES for name in looks_like.findall(page.read_text())}
    assert named - set(PROGRAMS) == set()


@pytest.mark.parametrize("name", TOPICS)
def test_every_promised_topic_has_its_place(name: str) -> None:
    text = (ROOT / "docs" / "how-to" / name).read_text()
    assert [topic for topic in TOPICS[name] if topic not in text] == []


RUNS_PYTHON = [
    page for page in [ROOT / "README.md", *PAGES] if re.search(r"(?m)python\s-m|^ +pytest", page.read_text())
]


@pytest.mark.parametrize("page", RUNS_PYTHON, ids=lambda page: page.name)
def test_page_that_runs_python_says_which(page: Path) -> None:
    """In a fresh clone the machine's own has none of the packages."""
    assert ". .venv/bin/activate" in page.read_text()


def test_every_output_that_a_page_reads_exists() -> None:
    outputs = set(render("drcio").outputs)
    named = {
        words[3] for words in (command.words for command in of("pulumi", "stack", "output")) if words[3:]
    }
    assert named <= outputs


def test_list_of_the_pages_names_each_of_them() -> None:
    """Runbooks have a list of their own, and decisions are read by title: of these it has the folder."""
    folder = ROOT / "docs"
    listed = set(re.findall(r"\]\(([^)#]+)\)", (folder / "README.md").read_text()))
    pages = {str(page.relative_to(folder)) for page in folder.rglob("*.md")} - {"README.md"}
    alone = {page for page in pages if not page.startswith(("decisions/", "runbooks/"))}
    assert {*alone, "runbooks/README.md", "decisions"} - listed == set()


def test_every_link_leads_somewhere() -> None:
    for page in ALL_PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_program_file_that_a_page_names_by_its_path_exists() -> None:
    """A decision is a record of its day: the files that it was about may have gone since."""
    pages = [page for page in ALL_PAGES if (ROOT / "docs" / "decisions") not in page.parents]
    named = [(page, path) for page in pages for path in re.findall(r"`([\w./-]+/\w+\.py)`", page.read_text())]
    assert named
    missing = [
        f"{page.name}: {path}"
        for page, path in named
        if not (ROOT / path).exists() and not (page.parent / path).exists()
    ]
    assert missing == []
