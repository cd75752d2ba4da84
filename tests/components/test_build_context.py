"""What an image is built from: exactly what its Dockerfile copies, the same from every checkout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.build_context import STAGES, IgnoreRules, context_files, source_hash, stage
from components.errors import ArgumentError
from stacks.images import FOLDERS, context_of
from stacks.preview.dryrun import ROOT, DryRun
from tests.repository.imports import reached_from
from tests.stacks.dryruns import render

FILES = {"Dockerfile": "FROM x", "src/a.py": "1"}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def dockerfile_of(image: str) -> Path:
    return ROOT / "images" / FOLDERS[image] / "Dockerfile"


def hash_of(folder: Path) -> str:
    return source_hash(folder, context_files(folder, folder / "Dockerfile"))


def test_hash_follows_names_contents_and_modes(tmp_path: Path) -> None:
    first = hash_of(write(tmp_path / "1", FILES))
    assert hash_of(write(tmp_path / "2", FILES)) == first
    assert hash_of(write(tmp_path / "3", {**FILES, "src/a.py": "2"})) != first
    assert hash_of(write(tmp_path / "4", {"Dockerfile": "FROM x", "src/b.py": "1"})) != first
    executable = write(tmp_path / "5", FILES)
    (executable / "src/a.py").chmod(0o755)
    assert hash_of(executable) != first


def test_checkout_under_another_umask_is_the_same_to_the_provider(tmp_path: Path) -> None:
    """The provider hashes whole modes, git keeps the executable bit alone."""
    staged = []
    for name, mask in (("strict", 0o077), ("open", 0o002)):
        before = os.umask(mask)
        try:
            checkout = write(tmp_path / name, {"app/Dockerfile": "FROM x", "app/src/a.py": "1"})
            staged.append((checkout, stage(checkout, "app", checkout / "app", checkout / "app/Dockerfile")))
        finally:
            os.umask(before)
    (one, context), (other, same) = staged
    assert context == same
    listings = [
        {
            path.relative_to(checkout).as_posix(): path.stat().st_mode
            for path in (checkout / context.path).rglob("*")
        }
        for checkout in (one, other)
    ]
    assert listings[0] == listings[1]
    assert len(listings[0]) == 3


def test_copy_holds_the_context_and_nothing_else(tmp_path: Path) -> None:
    checkout = write(
        tmp_path,
        {
            "images/a/Dockerfile": "FROM x",
            "lib/b.py": "1",
            "lib/__pycache__/b.pyc": "",
            "Pulumi.dev.yaml": "a: 1",
            ".dockerignore": "*\n!lib\n**/__pycache__\n",
        },
    )
    context = stage(checkout, "a", checkout, checkout / "images/a/Dockerfile")
    copied = {path.relative_to(checkout / context.path) for path in (checkout / context.path).rglob("*.*")}
    assert copied == {Path("lib/b.py")}
    assert context.dockerfile == f"{context.path}/images/a/Dockerfile"
    (checkout / "Pulumi.dev.yaml").write_text("a: 2")
    assert stage(checkout, "a", checkout, checkout / "images/a/Dockerfile") == context


def test_copies_that_nobody_uses_any_more_go(tmp_path: Path) -> None:
    checkout = write(tmp_path, FILES)
    for source in ("1", "2", "3"):
        (checkout / "src/a.py").write_text(source)
        context = stage(checkout, "app", checkout / "src", checkout / "src/a.py")
        if source == "1":
            os.utime(checkout / context.path, (0, 0))
    other = stage(checkout, "another", checkout / "src", checkout / "src/a.py")
    assert len(list((checkout / STAGES).iterdir())) == 3
    assert (checkout / context.path).is_dir()
    assert (checkout / other.path).is_dir()


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    checkout = write(tmp_path, FILES)
    (checkout / "src/link").symlink_to("/etc/hosts")
    with pytest.raises(ArgumentError, match="symbolic link"):
        context_files(checkout, checkout / "Dockerfile")
    write(checkout, {".dockerignore": "src/link"})
    assert len(context_files(checkout, checkout / "Dockerfile")) == 2


@pytest.mark.parametrize(
    ("rules", "ignored", "sent"),
    [
        ("*\n!src\n**/__pycache__", ["a", "a/b", "src/__pycache__/x"], ["src/a", "src/b/c"]),
        ("*\n!a/*.py\n!a/job", ["a/x/y.py", "a/b.txt", "b.py"], ["a/b.py", "a/job/c.txt"]),
        ("**/*.pyc\n# a comment\n\n/build/", ["x.pyc", "a/b/x.pyc", "build/a"], ["a/build/b", "# a comment"]),
        ("a/**/z\n!a/k/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/k/z", "z"]),
        (
            "docs/**\n?.txt\n[ab].c",
            ["docs/a", "docs/a/b", "x.txt", "a.c"],
            ["docs", "xy.txt", "c.c", "d/x.txt"],
        ),
        ("./x/../y", ["y", "y/z"], ["x"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_patterns_are_read_as_docker_reads_them(rules: str, ignored: list[str], sent: list[str]) -> None:
    read = IgnoreRules(rules)
    assert [path for path in ignored if not read.match(path)] == []
    assert [path for path in sent if read.match(path)] == []


NAMES = st.sampled_from(["a", "b", "ab", "a.py"])
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "*.py", "?"]), min_size=1, max_size=3)


@given(
    st.lists(st.tuples(st.booleans(), PATTERNS), max_size=4),
    st.lists(NAMES, min_size=2, max_size=4),
)
def test_nothing_that_is_sent_lies_in_a_folder_that_is_skipped(
    rules: list[tuple[bool, list[str]]], path: list[str]
) -> None:
    text = "\n".join(("!" if negated else "") + "/".join(parts) for negated, parts in rules)
    read = IgnoreRules(text)
    if not read.match("/".join(path)):
        assert not [count for count in range(1, len(path)) if read.skip("/".join(path[:count]))]


@pytest.mark.parametrize("image", FOLDERS)
def test_context_is_what_the_dockerfile_copies(image: str) -> None:
    """A line of COPY without a file would fail the build; a file without a COPY would build for nothing."""
    context, dockerfile = context_of(image), dockerfile_of(image)
    copied = [
        context / source
        for line in dockerfile.read_text().splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]
    files = set(context_files(context, dockerfile)) - {dockerfile}
    assert [source for source in copied if not any(f == source or source in f.parents for f in files)] == []
    assert [f for f in files if not any(f == source or source in f.parents for source in copied)] == []


def test_experiments_context_holds_all_that_it_imports() -> None:
    context, dockerfile = context_of("experiment"), dockerfile_of("experiment")
    reached = reached_from(ROOT / "experiments" / "job" / "__main__.py").files
    assert sorted(reached - set(context_files(context, dockerfile))) == []


def inputs_of(run: DryRun) -> dict[str, object]:
    return {
        f"{item.type} {item.name}": item.inputs
        for item in run.registrations
        if item.type.startswith("docker:") or item.name.endswith("-build")
    }


def test_configuration_changes_no_image() -> None:
    before = inputs_of(render("drcio"))
    assert len(before) == 2 * len(FOLDERS)
    changed = {"drcio:ioWeights.low": "20", "drcio:scenario": "contention", "drcio:experiment.run": "again"}
    assert inputs_of(render("drcio", changed)) == before


def test_no_path_of_this_machine_is_registered() -> None:
    for inputs in inputs_of(render("drcio")).values():
        assert str(ROOT) not in str(inputs)


def test_tag_of_a_pushed_image_is_new_for_each_build() -> None:
    """A registry with immutable tags refuses a source that came back under its old tag."""
    inputs = inputs_of(render("drcio"))
    image = inputs["docker:index/image:Image lp-batch"]
    drawn = inputs["random:index/randomPassword:RandomPassword lp-batch-build"]
    assert isinstance(image, dict)
    assert isinstance(drawn, dict)
    tag = str(image["imageName"]).rpartition(":")[2]
    source = drawn["keepers"]["source"]
    assert tag.startswith(f"{source}-")
    assert image["build"] == {
        "context": f".cache/images/lp-batch-{source}",
        "dockerfile": f".cache/images/lp-batch-{source}/Dockerfile",
        "platform": "linux/amd64",
    }


def test_another_checkout_registers_the_same_images(tmp_path: Path) -> None:
    context = context_of("lp-batch")
    copy = tmp_path / "elsewhere" / "lp-batch"
    shutil.copytree(context, copy)
    here = stage(ROOT, "lp-batch", context, context / "Dockerfile")
    assert stage(tmp_path, "lp-batch", copy, copy / "Dockerfile") == here
