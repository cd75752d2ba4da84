"""The report as a real browser lays it out: on a desktop, on a phone, in the dark and on paper."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from experiments.judgement.study import study
from experiments.judgement.testing import DEVICE, DRCIO_BEHAVIOUR, Behaviour
from experiments.judgement.verdict import judge
from experiments.records.record import RunRecord
from experiments.report.page import page
from experiments.report.pictures import pictures
from tests.experiments.build import build_records, build_spec

pytestmark = pytest.mark.browser
DESKTOP = (1280, 900)
PHONE = (390, 844)
PAPER = (794, 1123)
"""A4 at the 96 dots an inch that CSS counts in."""
READABLE_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3."""

# The page itself has no script; this one is added to a copy, to measure what the browser made of it.
PROBE = """
<script>
addEventListener("load", () => {
  const rect = (element) => element.getBoundingClientRect();
  const all = (selector) => [...document.querySelectorAll(selector)];
  const style = (selector) => getComputedStyle(document.querySelector(selector));
  const found = {
    width: innerWidth,
    scroll_width: document.documentElement.scrollWidth,
    answers: all(".answers dt").map((element) => element.textContent.trim()),
    answered_at: all(".answers b").map((element) => Math.round(rect(element).bottom)),
    told_at: Math.round(Math.max(...all(".answers dd").map((element) => rect(element).bottom))),
    wide: all("main > *, .answers > div, h1, p, figcaption")
      .filter((element) => rect(element).right > innerWidth + 1)
      .map((element) => element.outerHTML.slice(0, 80)),
    unfolded: all("details > :not(summary)").map((element) => element.checkVisibility()),
    drawn: all("figure svg").map((element) => rect(element).width > 300 && rect(element).height > 100),
    drawings_wide: all(".drawing").filter((element) => element.scrollWidth > element.clientWidth + 1).length,
    page: style("body").backgroundColor, ink: style("body").color,
    card: style(".answers > div").backgroundColor, muted: style(".answers span").color,
    states: all(".answers b").map((element) => getComputedStyle(element).color),
  };
  parent.postMessage(JSON.stringify(found), "*");
});
</script>
"""
# No window is narrower than 500 pixels here, but a frame is.
FRAME = """<!doctype html><title>frame</title><meta name="color-scheme" content="light dark">
<script>
addEventListener("message", (message) => {{
  const place = document.createElement("pre");
  place.id = "probe";
  place.textContent = message.data;
  document.body.append(place);
}});
</script>
<iframe src="page.html" style="border: 0; width: {width}px; height: {height}px"></iframe>
"""


@dataclass(frozen=True, kw_only=True)
class Laid:
    """What the browser says of a page, as PROBE measures it; lengths in CSS pixels."""

    width: int
    scroll_width: int
    answers: list[str]
    answered_at: list[int]
    told_at: int
    wide: list[str]
    unfolded: list[bool]
    drawn: list[bool]
    drawings_wide: int
    page: str
    ink: str
    card: str
    muted: str
    states: list[str]


def laid_out(
    text: str, folder: Path, size: tuple[int, int], *, dark: bool = False, paper: bool = False
) -> Laid:
    chromium = shutil.which("chromium")
    assert chromium is not None, "no chromium; `make setup-dev` installs it"
    if paper:
        text = text.replace("@media print", "@media all")
    (folder / "page.html").write_text(text.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=size[0], height=size[1]), encoding="utf-8")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1200",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    probe = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, flags=re.S)
    assert probe is not None, done.stderr[-2000:]
    return Laid(**json.loads(html.unescape(probe[1])))


def acting(record: RunRecord) -> RunRecord:
    """Let the controller turn its knobs in the middle of a run."""
    if record.scenario != "drcio":
        return record
    return replace(
        record,
        samples=tuple(
            replace(
                sample, model=f"{DEVICE} ctrl=user model=linear rbps={(120 if sample.t_s < 8 else 110) << 20}"
            )
            for sample in record.samples
        ),
    )


def report_of(*, with_pictures: bool, **changes: Behaviour) -> str:
    spec = build_spec()
    records = [acting(record) for record in build_records(spec, changes)]
    result = study(records, spec)
    verdict = judge(result)
    shown = pictures(result, verdict, records) if with_pictures else ()
    drawn = [picture.drawn() for picture in shown]
    return page(result, verdict, records, drawn, None, b"records")


@pytest.fixture(scope="module")
def passed() -> str:
    return report_of(with_pictures=True)


@pytest.fixture(scope="module")
def left_open() -> str:
    """The longest first screen: a reason, a remedy, answers that cannot be given."""
    slow = replace(DRCIO_BEHAVIOUR, p95_ms=140, compute_p95_ms=70, cpu_taken_share=0.43)
    return report_of(with_pictures=False, drcio=slow)


def test_first_screen_of_a_desktop_answers_all_five_questions(passed: str, tmp_path: Path) -> None:
    laid = laid_out(passed, tmp_path, DESKTOP)
    assert laid.answers == [
        "Was there contention?", "Was it controlled?", "What did it cost the batch job?", "How sure is it?",
        "On what?",
    ]  # fmt: skip
    assert laid.told_at <= DESKTOP[1]
    assert (laid.scroll_width, laid.wide) == (DESKTOP[0], [])
    assert laid.drawn == [True] * 4


def test_first_screen_of_a_phone_answers_them_too(passed: str, tmp_path: Path) -> None:
    laid = laid_out(passed, tmp_path, PHONE)
    assert laid.width == PHONE[0]
    assert max(laid.answered_at) <= PHONE[1]
    assert (laid.scroll_width, laid.wide) == (PHONE[0], [])


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_open_verdict_fits_as_well(left_open: str, tmp_path: Path, size: tuple[int, int]) -> None:
    laid = laid_out(left_open, tmp_path, size)
    assert (laid.scroll_width, laid.wide) == (size[0], [])
    assert laid.told_at <= (DESKTOP[1] if size == DESKTOP else 1.4 * PHONE[1])


def test_everything_is_unfolded_on_paper_and_fits_it(passed: str, tmp_path: Path) -> None:
    screen = laid_out(passed, tmp_path, DESKTOP)
    paper = laid_out(passed, tmp_path, PAPER, paper=True)
    assert not all(screen.unfolded)
    assert paper.unfolded
    assert all(paper.unfolded)
    assert (paper.scroll_width, paper.drawings_wide) == (PAPER[0], 0)


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_either_theme(passed: str, left_open: str, tmp_path: Path, *, dark: bool) -> None:
    for text in (passed, left_open):
        laid = laid_out(text, tmp_path, DESKTOP, dark=dark)
        assert (luminance(laid.page) < 0.05) is dark
        assert contrast(laid.ink, laid.page) >= READABLE_CONTRAST
        for colour in (laid.muted, *laid.states):
            assert contrast(colour, laid.card) >= READABLE_CONTRAST


def luminance(colour: str) -> float:
    """Return a colour's relative luminance, as WCAG defines it."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
