"""Honest time, with a clock that the test turns."""

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SCRIPT = """async () => {
  const { Clock } = await import("/static/clock.js");
  let now = 1000, present = true;
  const clock = new Clock({ now: () => now, present: () => present });
  const after = (seconds) => { now += 1000 * seconds; };
  const found = {};
  clock.start(); after(2);
  found.plain = clock.seconds();
  present = false; clock.check(); after(100); present = true; clock.check(); after(1);
  found.hidden = clock.seconds();
  clock.start(); after(45);
  found.idle = clock.seconds();
  clock.sign(); after(5);
  found.back = clock.seconds();
  clock.start(); after(20); clock.sign(); after(20); clock.sign(); after(31);
  found.busy = clock.seconds();
  clock.start(); after(1); clock.hold("help"); after(10); clock.release("help"); after(1);
  found.help = clock.seconds();
  clock.start(); after(1); clock.stop(); after(9);
  found.stopped = clock.seconds();
  clock.hold("help"); clock.start(); after(9); clock.release("help"); after(1);
  found.covered = clock.seconds();
  present = false; clock.start(); after(3); present = true; clock.check(); after(1);
  found.unseen = clock.seconds();
  return found;
}"""


def test_only_time_spent_looking_counts(visit):
    tab = visit(images=1)
    tab.enter()
    assert tab.page.evaluate(SCRIPT) == {
        "plain": 2,
        "hidden": 3,
        "idle": 30,
        "back": 35,
        "busy": 70,
        "help": 2,
        "stopped": 1,
        "covered": 1,
        "unseen": 1,
    }


def test_the_seconds_of_an_answer_are_those_it_was_looked_at(visit):
    tab = visit(images=1, pixels=2)
    tab.page.clock.install()
    tab.enter()
    tab.page.clock.fast_forward(4000)
    tab.press("ArrowRight")
    tab.page.clock.fast_forward(9000)
    tab.press("ArrowLeft")
    tab.page.clock.fast_forward(2000)
    tab.press("1")
    tab.saved()
    (row,) = tab.site.desk().answers.since()
    assert 0 <= row.seconds < 9


def test_time_counts_while_the_server_is_away(visit):
    tab = visit(images=1, pixels=2)
    tab.page.clock.install()
    tab.enter()
    tab.page.route("**/api/state", lambda route: route.abort())
    tab.page.clock.fast_forward(10_000)
    expect(tab.page.locator("#fault")).to_be_visible()
    tab.page.clock.fast_forward(8000)
    with tab.page.expect_request("**/api/answers") as sent:
        tab.page.keyboard.press("1")
    (answer,) = json.loads(sent.value.post_data)["answers"]
    assert answer["seconds"] >= 18
    tab.complaints.clear()


def test_images_are_given_up_when_nobody_moves_for_long(visit):
    tab = visit(images=1)
    tab.page.clock.install()
    tab.enter()
    renewed = []
    tab.page.on("request", lambda request: "/api/alive" in request.url and renewed.append(request))
    for _ in range(8):
        tab.page.clock.run_for(60_000)
    assert 4 <= len(renewed) <= 5
    tab.page.keyboard.press("+")
    with tab.page.expect_request("**/api/alive"):
        tab.page.clock.run_for(60_000)
