"""The page of a listening test in a real browser: whole sessions by mouse and by keyboard.

Skipped where there is no chromium and chromedriver; `scripts/browser` installs Debian's.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from listening import folders
from yue.evaluate.listen.analysis import analyse
from yue.evaluate.listen.ballots import load
from yue.evaluate.listen.desk import Desk
from yue.evaluate.listen.make import make
from yue.evaluate.listen.options import ListenOptions
from yue.evaluate.listen.serve import PAGE, ListenServer

SECONDS = 1.7
"""Length of the songs: longer than the slack, else nothing had to be heard."""
EVIL = "<img src=x onerror='window.hacked = true'><script>window.hacked = true</script>"
PROMPTS = {f"{n:02d}": {"genres": f"pop {EVIL}", "lyrics": f"la\n{EVIL}"} for n in range(2)}
PATIENCE = 60.0


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """A headless browser."""
    webdriver = pytest.importorskip("selenium.webdriver")
    service = pytest.importorskip("selenium.webdriver.chrome.service")
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if not binary or not chromedriver:
        pytest.skip("needs chromium and chromedriver: scripts/browser installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=service.Service(chromedriver))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListenServer]:
    """A test of two systems for eight raters, one pair and two anchors each, all questions."""
    root = tmp_path_factory.mktemp("page")
    make(
        folders(root, ("ours", "theirs"), prompts=2, seconds=SECONDS), root / "test",
        options=ListenOptions(raters=8, pairs=1, title=f"Which? {EVIL}"), prompts=PROMPTS,
    )
    with ListenServer(Desk(root / "test"), port=0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(server: ListenServer) -> Path:
    """The folder that is served."""
    return next(iter(server.desk.audio.values())).parents[1]


@pytest.fixture
def page(driver: Any, server: ListenServer) -> Iterator[Page]:
    """The page as somebody who has not been here sees it; nothing may be wrong at the end."""
    opened = Page(driver, server)
    opened.clear()
    driver.get_log("browser")
    opened.open()
    yield opened
    noise = [entry["message"] for entry in driver.get_log("browser")]
    assert [words for words in noise if "ERR_INTERNET_DISCONNECTED" not in words] == []
    assert not driver.execute_script("return window.hacked")


class Page:
    """What one does on the page."""

    def __init__(self, driver: Any, server: ListenServer) -> None:
        self.driver, self.server = driver, server

    def clear(self) -> None:
        """Forget who was here."""
        self.driver.get(self.server.url)
        self.driver.execute_script("localStorage.clear()")

    def open(self, token: str = "") -> None:
        """Load the page, anew even if only the part behind # differs."""
        self.driver.get("about:blank")
        self.driver.get(self.server.url + (f"#{token}" if token else ""))
        self.wait(lambda: self.shown("intro") or self.shown("done"))

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def shown(self, name: str) -> bool:
        return bool(self.one(f"#{name}").is_displayed())

    def text(self, name: str) -> str:
        return str(self.one(f"#{name}").text)

    def click(self, selector: str) -> None:
        element = self.one(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def keys(self, *keys: str) -> None:
        """Keys for whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def wait(self, happened: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < end, "the page did not get there in time"
            time.sleep(0.05)

    def ready(self) -> bool:
        return self.shown("trial") and self.one("#play").is_enabled()

    def may_vote(self) -> bool:
        return bool(self.one("#aspects input").is_enabled())

    def answer_all(self, value: str) -> None:
        for field in self.all("#aspects fieldset"):
            choice = field.find_element("css selector", f"input[value='{value}']")
            choice.click()

    def heard_out(self, song: int) -> bool:
        """Whether a song was heard, and stands at its end."""
        return self.left_of(song) == "heard" and self.text("play") == "Play"

    def token(self) -> str:
        """Who this is, as the address says."""
        return str(self.driver.execute_script("return location.hash")).removeprefix("#")

    def left_of(self, song: int) -> str:
        return self.text(f"left-{song}")


def votes(folder: Path, rater: int) -> list[dict[str, Any]]:
    """The votes of a rater, from the file."""
    records = [json.loads(line) for line in (folder / "votes.jsonl").read_text().splitlines()]
    return [
        record for record in records
        if record["kind"] == "vote" and record["rater"] == rater
    ]


@pytest.mark.slow
def test_a_whole_test_by_mouse(page: Page, folder: Path, server: ListenServer) -> None:
    """A rater who always votes left, from the first look at the page to the report."""
    page.click("#begin")
    for number in range(3):
        page.wait(page.ready)
        assert page.text("progress-text") == f"{number} of 3 pairs done"
        assert not page.may_vote() and not page.one("#vote").is_enabled()
        page.click("#play")
        page.wait(lambda: page.heard_out(0))
        assert page.left_of(1) != "heard" and not page.may_vote()
        assert page.text("status") == "Still to hear: B."
        page.click("#song-1")
        page.wait(page.may_vote)
        assert not page.one("#vote").is_enabled()
        page.answer_all("A")
        assert page.text("missing") == ""
        page.click("#vote")
        page.wait(lambda number=number: "" if page.shown("alert") else (
            page.shown("done") or page.text("progress-text").startswith(str(number + 1))))
    assert page.shown("done") and not page.shown("trial")
    token = page.token()
    rater = server.desk.tokens.index(token)
    kept = votes(folder, rater)
    assert len(kept) == 3
    for record in kept:
        assert set(record["answers"]) == {aspect["key"] for aspect in server.desk.test["aspects"]}
        assert set(record["answers"].values()) == {"A"}
        assert all(seconds == pytest.approx(SECONDS, abs=0.5) for seconds in record["heard"])
        assert record["seconds"] > 2 * SECONDS - 1
    rows = analyse(load(folder), resamples=100)["raters"]
    found = next(row for row in rows if row["rater"] == rater + 1)
    assert (found["lefts"], found["rights"]) == (1, 0) and found["identical_failed"] == 1
    page.open()
    assert page.shown("done")


def test_a_whole_test_by_keyboard(page: Page, folder: Path, server: ListenServer) -> None:
    """Tab, Enter and letters alone; the focus is always where it is wanted."""
    tab, enter, space = "\ue004", "\ue007", " "
    page.keys(tab, enter)
    for number in range(3):
        page.wait(page.ready)
        page.keys(space)
        page.wait(lambda: page.text("play") == "Pause")
        page.keys("2")
        assert page.one("#song-1").get_attribute("aria-pressed") == "true"
        page.wait(lambda: page.text("play") == "Play")
        page.keys("u")
        page.wait(lambda: page.heard_out(1))
        page.keys("u")
        page.wait(page.may_vote)
        page.keys("a", "b", "e", *("b" * 9))
        given = [one.get_attribute("value") for one in page.all("#aspects input:checked")]
        assert given == ["A", "B", "=", *("B" * 9)]
        assert page.driver.switch_to.active_element.get_attribute("id") == "vote"
        page.keys(enter)
        page.wait(lambda number=number: page.shown("done")
                  or page.text("progress-text").startswith(str(number + 1)))
    assert page.shown("done")
    token = page.token()
    kept = votes(folder, server.desk.tokens.index(token))
    assert len(kept) == 3 and all(one["answers"]["accompaniment"] == "=" for one in kept)


def test_resume(page: Page, server: ListenServer, folder: Path) -> None:
    """What was heard and answered outlasts a reload; a link alone brings the place back."""
    page.click("#begin")
    page.wait(page.ready)
    token = page.token()
    assert token in server.desk.tokens
    page.click("#play")
    page.wait(lambda: page.heard_out(0))
    page.click("#song-1")
    page.wait(page.may_vote)
    page.click("#aspects fieldset:nth-child(3) .answer.e")
    page.one("#comment").send_keys("so far 1 2 a")
    page.open()
    page.click("#begin")
    page.wait(page.ready)
    assert page.left_of(0) == page.left_of(1) == "heard" and page.may_vote()
    assert page.one("#comment").get_attribute("value") == "so far 1 2 a"
    chosen = page.all("#aspects input:checked")
    assert [(one.get_attribute("name"), one.get_attribute("value")) for one in chosen] == [
        ("accompaniment", "=")
    ]
    page.answer_all("B")
    page.click("#vote")
    page.wait(lambda: page.text("progress-text").startswith("1"))
    page.clear()
    page.open(token)
    assert page.text("begin") == "Go on" and page.text("progress-text").startswith("1 of 3")
    rater = server.desk.tokens.index(token)
    assert [one["comment"] for one in votes(folder, rater)] == ["so far 1 2 a"]


def test_the_network_fails(page: Page, server: ListenServer, folder: Path) -> None:
    """A vote that could not be sent is kept on the page, and sent once when it can be."""
    page.click("#begin")
    page.wait(page.ready)
    token = page.token()
    page.click("#play")
    page.wait(lambda: page.heard_out(0))
    page.click("#song-1")
    page.wait(page.may_vote)
    page.answer_all("A")
    page.driver.set_network_conditions(offline=True, latency=0, throughput=-1)
    page.click("#vote")
    page.wait(lambda: page.shown("alert"))
    assert "server cannot be reached" in page.text("alert-text")
    page.driver.delete_network_conditions()
    page.click("#alert-retry")
    page.wait(lambda: page.text("progress-text").startswith("1"))
    assert not page.shown("alert")
    assert len(votes(folder, server.desk.tokens.index(token))) == 1


def test_a_wrong_link(page: Page) -> None:
    page.driver.get("about:blank")
    page.driver.get(f"{page.server.url}#wrong")
    page.wait(lambda: page.shown("alert"))
    assert "link is not known" in page.text("alert-text")
    # The browser itself notes a refusal; nothing else may be wrong.
    noise = page.driver.get_log("browser")
    assert noise and all("403" in entry["message"] for entry in noise)


def test_texts_are_only_text(page: Page) -> None:
    assert page.text("title") == f"Which? {EVIL}"
    assert page.driver.title == f"Which? {EVIL}"
    page.click("#begin")
    page.wait(page.ready)
    assert page.text("genres") == f"pop {EVIL}" and page.text("lyrics") == f"la\n{EVIL}"
    assert not page.all("main img, main script")


@pytest.mark.parametrize(("width", "dark"), [(320, False), (390, True), (768, False), (1280, True)])
def test_it_fits_and_is_named(page: Page, server: ListenServer, width: int, dark: bool) -> None:
    """No sideways scrolling, fingers' width, a name for everything that can be used."""
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600,
    })
    scheme = "dark" if dark else "light"
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}],
    })
    try:
        page.open(server.desk.tokens[7])
        page.click("#begin")
        page.wait(page.ready)
        sideways = "return document.documentElement.scrollWidth - window.innerWidth"
        assert page.driver.execute_script(sideways) <= 0
        for element in page.all("button, input, textarea, progress, fieldset, summary"):
            if element.is_displayed() and element.tag_name != "summary":
                assert element.accessible_name, element.get_attribute("outerHTML")
        for element in page.all("button, .answer"):
            if element.is_displayed():
                assert element.size["height"] >= 40
        background = page.one("body").value_of_css_property("background-color")
        channels = [int(part) for part in re.findall(r"\d+", background)[:3]]
        assert (sum(channels) < 3 * 60) == dark
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


GAPLESS = """
const done = arguments[arguments.length - 1];
(async () => {
  const { Player } = await import("/player.js");
  const rate = 48000, context = new OfflineAudioContext(1, 2 * rate, rate);
  const buffers = [0.25, 0.5].map((level) => {
    const buffer = context.createBuffer(1, 3 * rate, rate);
    buffer.getChannelData(0).forEach((_, n, all) => { all[n] = level + n / (100 * rate); });
    return buffer;
  });
  const player = new Player(context, buffers);
  player.play();
  for (const [when, song] of [[0.5, 1], [1, 0], [1.5, 1]]) {
    context.suspend(when).then(() => { player.select(song); context.resume(); });
  }
  const samples = (await context.startRendering()).getChannelData(0);
  player.note();
  done({ samples: Array.from(samples.filter((_, n) => n % 24 === 0)), heard: player.heard });
})();
"""


def test_switching_has_no_gap_and_keeps_the_place(page: Page) -> None:
    """The page's own player, rendered: two ramps at 0.25 and 0.5 that say where they are."""
    page.driver.set_script_timeout(PATIENCE)
    found = page.driver.execute_async_script(GAPLESS)
    step, lead, fade = 24 / 48_000, 0.03, 0.012
    for n, sample in enumerate(found["samples"]):
        now = n * step
        if now < lead + 0.001:
            continue
        ramp, switch = (now - lead) / 100, now % 0.5
        assert 0.25 + ramp - 1e-3 < sample < 0.5 + ramp + 1e-3, now
        if now < 0.5 or switch > fade + 0.004:
            level = 0.25 if int(now / 0.5) % 2 == 0 else 0.5
            assert sample == pytest.approx(level + ramp, abs=1e-3), now
    first, second = found["heard"]
    for ranges, starts in ((first, [0, 0.97]), (second, [0.47, 1.47])):
        assert [start for start, _ in ranges] == pytest.approx(starts, abs=0.01)
    assert [end for _, end in first + second] == pytest.approx([0.47, 1.47, 0.97, 1.97], abs=0.01)


RANGES = """
const done = arguments[arguments.length - 1];
(async () => {
  const { Player, merged } = await import("/player.js");
  const context = new OfflineAudioContext(1, 100, 48000);
  const song = (seconds) => context.createBuffer(1, seconds * 48000, 48000);
  const player = new Player(context, [song(10), song(6)], [[[0, 2], [5, 10]], []]);
  const gaps = [player.firstGap(0), player.firstGap(1)];
  player.heard[0] = merged(player.heard[0], [1.5, 5.01]);
  gaps.push(player.firstGap(0), player.secondsHeard(0));
  player.seek(99);
  const far = player.position;
  player.seek(-5);
  done({ gaps, merged: merged([[3, 4], [0, 1]], [0.5, 3.2]), apart: merged([[0, 1]], [2, 3]),
    far, near: player.position });
})();
"""


def test_what_was_heard(page: Page) -> None:
    found = page.driver.execute_async_script(RANGES)
    assert found["gaps"] == [2, 0, None, 10]
    assert found["merged"] == [[0, 4]] and found["apart"] == [[0, 1], [2, 3]]
    assert (found["far"], found["near"]) == (10, 0)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG has it."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))

    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(scheme: int) -> None:
    """At least 4.5 to 1 for every text on its ground (WCAG AA)."""
    style = (PAGE / "style.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for text, ground in (
        ("ink", "page"), ("ink", "card"), ("soft", "page"), ("soft", "card"), ("a", "card"),
        ("b", "card"), ("a", "a-wash"), ("b", "b-wash"), ("e", "e-wash"), ("soft", "a-wash"),
        ("soft", "b-wash"), ("on-strong", "strong"), ("bad", "bad-wash"), ("card", "a"),
        ("card", "b"),
    ):
        light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_the_page_works_offline() -> None:
    """Nothing on it comes from elsewhere."""
    for path in PAGE.iterdir():
        found = re.findall(r"https?://[^\s\"'<>]+", path.read_text())
        assert set(found) <= {"http://www.w3.org/2000/svg"}, path.name
