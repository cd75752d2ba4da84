"""Pulumi.yaml, the dataclasses and the reference page say the same."""

from __future__ import annotations

import yaml

from stacks.configuration.keys import keys_of
from stacks.configuration.reference import PAGE, PROJECT_FILE, leaves, page, project_file
from stacks.configuration.settings import Settings


def test_pulumi_yaml_is_what_the_declarations_say() -> None:
    current = PROJECT_FILE.read_text()
    assert current == project_file(current), "run: python -m stacks.configuration.reference --write"


def test_reference_page_is_what_the_declarations_say() -> None:
    assert PAGE.read_text() == page(), "run: python -m stacks.configuration.reference --write"


def test_every_key_is_declared_with_type_default_and_description() -> None:
    config = yaml.safe_load(PROJECT_FILE.read_text())["config"]
    expected = {name: (key, value) for key in keys_of(Settings) for name, value in leaves(key)}
    assert set(config) == set(expected)
    for name, (key, value) in expected.items():
        assert config[name]["description"].startswith(key.kind)
        assert config[name]["value"] == value


def test_the_cli_would_take_the_declarations() -> None:
    """Outside the project's namespace it refuses `type` and `default`; below a path it takes scalars only."""
    project = yaml.safe_load(PROJECT_FILE.read_text())
    for name, declared in project["config"].items():
        assert not name.startswith(f"{project['name']}:")
        assert set(declared) == {"description", "value"}
        assert isinstance(declared["value"], str | int | bool)


def test_every_sentence_ends() -> None:
    assert [key.path for key in keys_of(Settings) if not key.rules.doc.endswith((".", ")"))] == []
