"""What every command's `--help` prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import pytest

from drcio_controller import cli as controller
from experiments.commands.cli import build_parser
from experiments.job.cli import main as job
from hp_service import cli as service
from load_generator import cli as generator
from local_cluster.cli import main as cluster
from lp_batch import cli as batch

Main = Callable[[list[str]], object]
PROGRAMS: dict[str, Main] = {
    "experiments": lambda words: build_parser().parse_args(words),
    "experiments.job": job,
    "local_cluster": cluster,
    "drcio-controller": lambda words: controller.main(words),
    "hp-service": lambda words: service.main(words),
    "load-generator": lambda words: generator.main(words),
    "lp-batch": lambda words: batch.main(words),
}


def printed(program: str, words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match=r"^0$"):
        PROGRAMS[program]([*words, "--help"])
    return capsys.readouterr().out


def pages(program: str, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str]]:
    """Yield each command's line and its page, the program's own first."""
    whole = printed(program, [], capsys)
    yield program, whole
    _, _, commands = whole.partition("\n  COMMAND\n")
    for name in re.findall(r"^    ([a-z-]+)(?: |$)", commands.partition("\n\n")[0], re.MULTILINE):
        yield f"{program} {name}", printed(program, [name], capsys)


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_page_begins_with_a_sentence_and_shows_no_default_that_is_none(
    program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = dict(pages(program, capsys))
    assert len(found) > 1 or program == "experiments.job"
    for name, page in found.items():
        about = page.split("\n\n")[1]
        assert re.match(r"[A-Z].*\.$", about.replace("\n", " ")), f"{name}: {about!r}"
        assert not re.search(r"\(default: (None|False|\[\]|\(\))\)", page), name


@pytest.mark.parametrize(
    ("program", "words", "meant"),
    [
        ("experiments", ["fuz"], "did you mean fuzz?"),
        ("experiments", ["run", "--scenario", "contenton"], "did you mean contention?"),
        ("local_cluster", ["tuor"], "did you mean tour?"),
        ("experiments", ["run", "--scenaro", "drcio"], "did you mean --scenario?"),
        ("drcio-controller", ["statsu"], "did you mean status?"),
        ("drcio-controller", ["--listne", "x"], "unrecognized arguments: --listne; did you mean --listen?"),
        ("drcio-controller", ["--listne=x"], "did you mean --listen?"),
        ("drcio-controller", ["-v", "--listen", ":1", "--node-nmae", "n"], "did you mean --node-name?"),
        ("drcio-controller", ["--dry-rnu", "--once"], "did you mean --dry-run?"),
        ("drcio-controller", ["-listen", "x"], "did you mean --listen?"),
        ("drcio-controller", ["listen", "x"], "did you mean --listen?"),
        ("drcio-controller", ["--dry-rnu", "status"], "did you mean --dry-run?"),
        ("drcio-controller", ["statsu", "--url", "x"], "did you mean status?"),
        ("drcio-controller", ["status", "--ulr", "x"], "did you mean --url?"),
        ("drcio-controller", ["--cgroup-root", "/tmp", "top", "--cuont=1"], "did you mean --count?"),
    ],
)
def test_mistyped_word_is_told_what_it_may_have_been_meant_to_be(
    program: str, words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        PROGRAMS[program](words)
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "words", "prog"),
    [
        ("experiments", [], "python -m experiments"),
        ("experiments", ["fuz"], "python -m experiments"),
        ("experiments", ["run", "--scenaro", "all"], "python -m experiments run"),
        ("experiments", ["run", "--kernel", "6.99"], "python -m experiments run"),
        ("experiments", ["sweep", "--repeats", "many"], "python -m experiments sweep"),
        ("local_cluster", ["tour", "--memory-mb", "1"], "python -m local_cluster tour"),
        ("drcio-controller", ["top", "--count", "-1"], "drcio-controller top"),
    ],
)
def test_error_is_one_line_and_the_command_that_shows_all_options(
    program: str, words: list[str], prog: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        PROGRAMS[program](words)
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"{prog}: error: ")
    assert hint == f"hint: {prog} --help"


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["xyzzy"], "invalid choice: 'xyzzy'"),
        (["--xyzzy", "x"], "unrecognized arguments: --xyzzy"),
        (["--list", ":1", "xyzzy"], "invalid choice: 'xyzzy'"),
        (["--state-dir=/x", "xyzzy"], "invalid choice: 'xyzzy'"),
        (["status", "--xyzzy"], "unrecognized arguments: --xyzzy"),
        (["doctor", "xyzzy"], "unrecognized arguments: xyzzy"),
    ],
)
def test_word_that_is_like_no_other_is_refused_without_a_guess(
    words: list[str], refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        PROGRAMS["drcio-controller"](words)
    error = capsys.readouterr().err
    assert refused in error
    assert "did you mean" not in error
