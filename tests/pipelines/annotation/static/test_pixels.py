"""The page of points, used as people do."""

import re

import pytest
from browser import axe_script, violations
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_round_by_keys_with_changes_of_mind_and_a_reload(visit):
    tab = visit(images=3, pixels=3)
    tab.enter()
    given = {}
    for key in ("1", "2", "3", "1"):
        given[tab.press(key)] = int(key) - 1
    # Back over two answers, the first of them in an earlier image, and other answers to both.
    undone = [tab.press("Backspace") and tab.shown() for _ in range(2)]
    assert undone == list(given)[:1:-1]
    for key in ("2", "3"):
        given[tab.press(key)] = int(key) - 1
    tab.saved()
    tab.page.reload()
    assert tab.shown() not in given
    # Undone after the reload as well.
    tab.press("Backspace")
    assert tab.shown() == undone[0]
    given[tab.press("1")] = 0
    for key in ("1", "2", "Space", "3"):
        given[tab.press(key)] = {"1": 0, "2": 1, "3": 2, "Space": 255}[key]
    while len(given) < 9:
        given[tab.press("2")] = 1
    expect(tab.page.locator("#rest-title")).to_be_visible()
    expect(tab.page.locator("#count")).to_have_text("9 of 9")
    tab.saved()
    labels = tab.site.close(0)
    found = {(row["image_id"], row["y"], row["x"]): row["class_id"] for row in labels.to_pylist()}
    assert found == {tab.where(query): class_id for query, class_id in given.items()}
    assert labels.num_rows == 9
    expect(tab.page.locator("#rest-title")).to_have_text("This round is answered")


def test_the_next_round_appears_by_itself(visit):
    tab = visit(images=2, pixels=1)
    tab.enter()
    tab.press("1")
    tab.press("1")
    tab.saved()
    tab.site.close(0)
    tab.site.ask(1, pixels=1)
    tab.press("2")
    expect(tab.page.locator("#round")).to_have_text("round 2 of 3")
    tab.saved()
    assert [row.round for row in tab.site.desk().answers.since()] == [0, 0, 1]


def test_a_point_that_is_looked_at_stays_when_the_next_round_begins(visit):
    tab = visit(images=2, pixels=2)
    tab.page.clock.install()
    tab.enter()
    tab.press("1")
    shown = tab.shown()
    tab.saved()
    tab.site.close(0)
    tab.site.ask(1, pixels=1)
    with tab.page.expect_response("**/api/work*"):
        tab.page.clock.run_for(12_000)
    expect(tab.page.locator("#round")).to_have_text("round 2 of 3")
    tab.page.evaluate("fetch('/api/history').then((reply) => reply.text())")  # the page has taken in what came before
    assert tab.press("2") == shown
    for _ in range(2):
        tab.press("3")
    expect(tab.page.locator("#rest-title")).to_be_visible()
    tab.saved()
    rows = tab.site.desk().answers.since()
    assert [(row.round, row.class_id) for row in rows] == [(0, 0), (0, 1), (1, 2), (1, 2)]


def test_undo_into_a_closed_round_asks_nothing_else_of_it(visit):
    tab = visit(images=1, pixels=3)
    tab.enter()
    old = tab.press("1")
    tab.saved()
    tab.site.close(0)
    tab.site.ask(1, pixels=1)
    tab.page.reload()
    new = tab.shown()
    tab.press("Backspace")
    assert tab.shown() == old
    expect(tab.page.get_by_role("button", name="meadow")).to_have_attribute("aria-pressed", "true")
    expect(tab.page.locator("#last")).to_have_text("Answered meadow: another key changes it")
    tab.press("2")
    assert tab.shown() == new
    tab.press("3")
    expect(tab.page.locator("#rest-title")).to_be_visible()
    tab.saved()
    assert [row.class_id for row in tab.site.desk().answers.since()] == [0, 1, 2]  # none was taken back


def test_a_held_key_takes_one_answer_back(visit):
    tab = visit(images=1, pixels=3)
    tab.enter()
    tab.press("1")
    second = tab.press("2")
    for _ in range(5):
        tab.page.keyboard.down("Backspace")
    tab.page.keyboard.up("Backspace")
    assert tab.shown() == second
    tab.saved()
    assert [row.class_id for row in tab.site.desk().answers.since()] == [0, 1, None]


def test_a_key_waits_for_what_was_answered_before(visit):
    tab = visit(images=1, pixels=3)
    tab.enter()
    first = tab.shown()
    tab.press("1")
    tab.saved()
    coming = []
    tab.page.route("**/api/history?*", lambda route: coming.append(route))
    with tab.page.expect_request("**/api/history?*"):
        tab.page.reload()
    expect(tab.page.locator("#count")).to_have_text("1 of 3")
    tab.page.keyboard.press("Backspace")
    expect(tab.page.locator("#last")).not_to_have_text("Nothing to take back")
    coming[0].continue_()
    assert tab.shown() == first
    tab.saved()
    assert [row.class_id for row in tab.site.desk().answers.since()] == [0, None]


@pytest.mark.long
def test_undo_goes_back_further_than_one_piece_of_the_history(visit):
    tab = visit(images=6, pixels=20)
    tab.enter()
    tab.page.evaluate(
        """async () => {
          const { get, post } = await import("/static/api.js");
          for (let times = 0; times < 6; times += 1) {
            const { images } = await get("/api/work?images=1");
            const answers = images[0].queries.map(({ query }) => ({ query, class: 0, seconds: 0, replaces: null }));
            const send = () => post("/api/answers", { answers }).then(() => true, () => false);
            while (!(await send()));
          }
        }"""
    )
    tab.complaints.clear()  # too fast, on purpose
    tab.page.reload()
    expect(tab.page.locator("#count")).to_have_text("120 of 120")
    for _ in range(120):
        tab.page.keyboard.press("Backspace")
        tab.shown()
    tab.page.keyboard.press("Backspace")
    expect(tab.page.locator("#last")).to_have_text("Nothing to take back")
    expect(tab.page.locator("#count")).to_have_text("0 of 120")
    tab.saved()
    tab.complaints.clear()


def test_arrows_zoom_and_help_answer_nothing(visit):
    tab = visit(images=1, pixels=3)
    tab.enter()
    first = tab.press("ArrowRight")
    tab.press("ArrowLeft")
    assert tab.shown() == first
    canvas = tab.page.locator("#stage canvas")
    whole = canvas.screenshot()
    tab.page.keyboard.press("+")
    tab.page.keyboard.press("+")
    assert canvas.screenshot() != whole
    tab.page.keyboard.press("-")
    tab.page.keyboard.press("-")
    assert canvas.screenshot() == whole
    tab.page.keyboard.press("?")
    expect(tab.page.locator("#help")).to_be_visible()
    tab.page.keyboard.press("1")
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#help")).not_to_be_visible()
    assert tab.shown() == first
    assert tab.site.desk().answers.since() == []


def test_a_click_answers_and_keys_go_on_after_it(visit):
    tab = visit(images=1, pixels=3)
    tab.enter()
    first = tab.shown()
    tab.page.get_by_role("button", name="water").click()
    expect(tab.page.locator("html")).not_to_have_attribute("data-query", first)
    second = tab.press("Space")  # void: the button that was clicked is not pressed again
    tab.saved()
    assert [row.class_id for row in tab.site.desk().answers.since()] == [1, 255]
    # A dot is a way back to its answer.
    tab.page.keyboard.press("ArrowLeft")
    expect(tab.page.locator("html")).to_have_attribute("data-query", second)
    expect(tab.page.get_by_role("button", name="cannot tell")).to_have_attribute("aria-pressed", "true")


def test_the_next_two_images_are_loaded_before_they_are_asked(visit):
    tab = visit(images=5, pixels=1)
    loaded = []
    tab.page.on("requestfinished", lambda request: "/api/images/" in request.url and loaded.append(request.url))
    tab.enter()
    tab.page.wait_for_load_state("networkidle")
    assert len(loaded) == 3
    with tab.page.expect_event("requestfinished", lambda request: "/api/images/" in request.url):
        tab.press("1")
    assert len(loaded) == len(set(loaded)) == 4


def test_answers_that_cannot_be_sent_are_kept_shown_and_sent_in_order(visit):
    tab = visit(images=3, pixels=2)
    tab.enter()
    tab.page.route("**/api/answers", lambda route: route.abort())
    given = [tab.press(key) for key in ("1", "2", "3")]
    expect(tab.page.locator("#saved-text")).to_have_text("3 answers not sent yet, trying again")
    tab.page.keyboard.press("Backspace")
    given.append(tab.press("1"))
    assert given[3] == given[2]
    assert tab.site.desk().answers.since() == []
    tab.page.reload()  # they outlive the page
    expect(tab.page.locator("#saved-text")).to_have_text("5 answers not sent yet, trying again")
    tab.page.unroute("**/api/answers")
    tab.page.get_by_role("button", name="Send now").click()
    tab.saved()
    rows = tab.site.desk().answers.since()
    assert [row.class_id for row in rows] == [0, 1, 2, None, 0]
    assert [(row.image_id, row.y, row.x) for row in rows] == [
        tab.where(query) for query in [*given[:3], given[2], given[2]]
    ]
    assert tab.shown() not in given
    assert tab.complaints
    assert all("ERR_FAILED" in line for line in tab.complaints)
    tab.complaints.clear()


def test_a_reply_that_was_lost_doubles_nothing(visit):
    tab = visit(images=2, pixels=2)
    tab.enter()
    lost = []

    def lose(route):
        route.fetch()
        lost.append(1)
        route.abort()

    tab.page.route("**/api/answers", lose, times=1)
    tab.press("1")
    tab.press("2")
    tab.saved()
    assert lost
    assert [row.class_id for row in tab.site.desk().answers.since()] == [0, 1]
    tab.complaints.clear()


def test_another_tab_of_the_same_person_is_no_trouble(visit):
    tab = visit(images=1, pixels=2)
    tab.enter()
    other = tab.page.context.new_page()
    other.goto(tab.url)
    expect(other.locator("html")).to_have_attribute("data-query", tab.shown())
    tab.press("1")
    tab.saved()
    other.keyboard.press("2")
    expect(other.locator("#saved")).to_have_attribute("data-state", "saved")
    assert [row.class_id for row in tab.site.desk().answers.since()] == [0, 1]
    assert [line for line in tab.complaints if "409" not in line] == []


def test_nobody_answers_for_who_signed_in_in_another_tab(visit):
    tab = visit(images=2, pixels=2, annotators=("anna", "ben"))
    tab.enter()
    other = tab.page.context.new_page()
    other.goto(tab.links["ben"])
    expect(other.locator("#who")).to_have_text("ben")
    given = [tab.press(key) for key in ("1", "2")]
    expect(tab.page.locator("#fault")).to_have_text(
        "Somebody else signed in here: reload to go on as them, or open your own link again. "
        "Answers not sent yet are kept for anna."
    )
    expect(tab.page.locator("#saved-text")).to_have_text("2 answers not sent yet, trying again")
    tab.page.reload()
    expect(tab.page.locator("#who")).to_have_text("ben")
    tab.saved()
    assert tab.site.desk().answers.since() == []
    tab.page.goto(tab.links["anna"])
    expect(tab.page.locator("#who")).to_have_text("anna")
    tab.saved()
    rows = tab.site.desk().answers.since()
    assert [(row.annotator, row.class_id) for row in rows] == [("anna", 0), ("anna", 1)]
    assert [(row.image_id, row.y, row.x) for row in rows] == [tab.where(query) for query in given]
    assert all("409" in line for line in tab.complaints)
    tab.complaints.clear()


def test_who_leaves_keeps_no_images_from_others(visit):
    anna = visit(images=2, pixels=2, annotators=("anna", "ben"))
    anna.enter()
    ben = visit(beside=anna)
    ben.page.goto(ben.links["ben"])
    expect(ben.page.locator("#rest-title")).to_have_text("Nothing left for you just now")
    ben.page.goto("about:blank")
    held = anna.shown()
    anna.page.reload()
    assert anna.shown() == held
    anna.page.goto("about:blank")
    ben.enter("ben")
    assert ben.shown() == held


def test_images_with_answers_on_their_way_are_kept(visit):
    anna = visit(images=2, pixels=2, annotators=("anna", "ben"))
    anna.enter()
    anna.page.route("**/api/answers", lambda route: route.abort())
    first = anna.press("1")
    anna.page.goto("about:blank")
    ben = visit(beside=anna)
    ben.enter("ben")
    assert ben.where(ben.shown())[0] != anna.where(first)[0]
    anna.complaints.clear()


def test_a_page_that_the_browser_kept_asks_anew_what_is_due(visit):
    tab = visit(images=1)
    tab.enter()
    with tab.page.expect_navigation():
        tab.page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    tab.shown()


def test_who_signs_out_leaves_nothing_behind(visit):
    anna = visit(images=2, pixels=2, annotators=("anna", "ben"))
    anna.enter()
    anna.page.route("**/api/answers", lambda route: route.abort())
    anna.press("1")
    button = anna.page.get_by_role("button", name="Sign out")
    button.click()
    expect(anna.page.locator("#notes")).to_contain_text("You stay signed in until your answers are sent.")
    anna.page.unroute("**/api/answers")
    button.click()
    expect(anna.page.locator("main")).to_contain_text("Open the link")
    assert [row.class_id for row in anna.site.desk().answers.since()] == [0]
    assert anna.page.context.cookies() == []
    ben = visit(beside=anna)
    ben.enter("ben")
    anna.page.goto(anna.url)
    expect(anna.page.locator("main")).to_contain_text("Open the link")
    anna.complaints.clear()


def test_what_the_server_refuses_is_said(visit):
    tab = visit(images=2, pixels=1)
    tab.enter()
    body = '{"error": {"code": "lease_lost", "message": "Somebody else has this image now.", "index": 0}}'
    tab.page.route("**/api/answers", lambda route: route.fulfill(status=409, body=body), times=1)
    tab.press("1")
    expect(tab.page.locator("#notes")).to_contain_text("Somebody else has this image now.")
    tab.press("2")
    tab.saved()
    assert len(tab.site.desk().answers.since()) == 1
    # Undo knows nothing of it.
    tab.press("Backspace")
    tab.page.keyboard.press("Backspace")
    expect(tab.page.locator("#last")).to_have_text("Nothing to take back")
    tab.saved()
    assert [row.class_id for row in tab.site.desk().answers.since()] == [1, None]
    tab.complaints.clear()


def test_every_answer_that_is_refused_is_counted(visit):
    tab = visit(images=2, pixels=2)
    tab.enter()
    body = '{"error": {"code": "lease_lost", "message": "Somebody else has this image now.", "index": 0}}'
    tab.page.route("**/api/answers", lambda route: route.fulfill(status=409, body=body), times=3)
    for count in ("One answer was", "2 answers were", "3 answers were"):
        tab.shown()
        tab.page.keyboard.press("1")
        expect(tab.page.locator("#notes")).to_contain_text(f"{count} not taken: Somebody else has this image now.")
    assert tab.page.locator("#notes p").count() == 1
    tab.complaints.clear()


MARK = """(mark) => {
  for (const [name, text] of Object.entries(localStorage)) {
    if (!name.startsWith("weakseg-answer:")) continue;
    const { mark: before, ...entry } = JSON.parse(text);
    localStorage.setItem(name, JSON.stringify(mark === null ? entry : { ...entry, mark }));
  }
}"""


def test_answers_to_questions_of_another_secret_are_kept_and_told(visit):
    tab = visit(images=2, pixels=2)
    tab.enter()
    body = '{"error": {"code": "unknown_query", "message": "There is no such question.", "index": 0}}'
    tab.page.route("**/api/answers", lambda route: route.fulfill(status=404, body=body))
    given = []
    for count in ("One answer was", "2 answers were"):
        given.append(tab.shown())
        tab.page.keyboard.press(str(len(given)))
        expect(tab.page.locator("#notes")).to_contain_text(f"{count} not taken: There is no such question.")
    tab.page.evaluate(MARK, "another")
    tab.page.reload()
    expect(tab.page.locator("#notes")).to_contain_text("2 answers given under an earlier link wait in this browser")
    tab.page.unroute("**/api/answers")
    tab.saved()
    assert tab.site.desk().answers.since() == []
    tab.page.evaluate(MARK, None)  # as an older page kept them
    tab.page.reload()
    tab.shown()
    tab.saved()
    assert [row.class_id for row in tab.site.desk().answers.since()] == [0, 1]
    assert tab.shown() not in given
    tab.complaints.clear()


def test_names_are_text_and_never_markup(visit):
    evil = "<img src=x onerror=document.title='owned'>"
    tab = visit(images=1, pixels=2, classes=("meadow", evil))
    tab.enter()
    expect(tab.page.locator("#classes .name").nth(1)).to_have_text(evil)
    tab.press("2")
    expect(tab.page.locator("#last")).to_have_text(evil)
    expect(tab.page.locator("#said")).to_contain_text(evil)
    assert tab.page.locator("img").count() == 0
    assert tab.page.title() == "Points - weakseg"


def test_a_region_is_outlined(visit):
    tab = visit(images=1, pixels=2, kind="region")
    with tab.page.expect_response(re.compile("/api/regions/")):
        tab.enter()
    tab.press("3")
    tab.saved()
    assert [row.kind for row in tab.site.desk().answers.since()] == ["region"]


def test_outlines_do_not_push_the_shown_image_out(visit):
    tab = visit(images=3, pixels=8, kind="region")
    loaded = []
    tab.page.on("request", lambda request: loaded.append(request.url))
    tab.enter()
    for _ in range(6):
        with tab.page.expect_response(re.compile("/api/regions/")):  # the next one's, ahead
            tab.press("1")
    tab.press("1")
    tab.page.keyboard.press("+")
    images = [url for url in loaded if "/api/images/" in url]
    assert len(images) == len(set(images)) == 3
    regions = [url for url in loaded if "/api/regions/" in url]
    assert len(regions) == len(set(regions)) >= 8


def test_a_region_is_marked_while_its_border_is_on_its_way(visit):
    tab = visit(images=1, pixels=1, kind="region")
    tab.page.route("**/api/regions/*", lambda route: None)
    tab.enter()
    bare = """() => {
      const canvas = document.querySelector("#stage canvas");
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const isRed = (at) => data[at] === 224 && data[at + 1] === 20 && data[at + 2] === 44;
      for (let at = 0; at < data.length; at += 4) if (isRed(at)) return false;
      return true;
    }"""
    assert not tab.page.evaluate(bare)


def test_the_same_words_are_read_out_again(visit):
    tab = visit(images=3, pixels=1)
    tab.enter()
    tab.page.evaluate(
        """() => {
          window.heard = 0;
          new MutationObserver(() => (window.heard += 1)).observe(document.getElementById("said"), { childList: true });
        }"""
    )
    tab.press("1")
    tab.press("1")
    assert tab.page.evaluate("window.heard") == 2


def test_more_classes_than_keys_still_need_no_mouse(visit):
    tab = visit(images=1, pixels=2, classes=[f"class {number}" for number in range(38)])
    tab.enter()
    expect(tab.page.locator("#classes .class").nth(37).locator("kbd")).to_have_text("Shift B")
    tab.press("Shift+B")
    tab.saved()
    assert [row.class_id for row in tab.site.desk().answers.since()] == [37]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_320_pixels_and_can_be_used_without_seeing_it(visit, scheme):
    tab = visit(context={"viewport": {"width": 320, "height": 568}, "color_scheme": scheme})
    tab.enter()
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 320
    for button in tab.page.locator("#classes button").all():
        expect(button).to_be_in_viewport(ratio=1)
    tab.page.keyboard.press("?")
    expect(tab.page.locator("#help-title")).to_be_in_viewport(ratio=1)
    tab.page.keyboard.press("Escape")
    tab.press("2")
    expect(tab.page.locator("#said")).to_have_text(re.compile("^water. Point 2 of 3 in this image.$"))
    assert violations(tab.page, axe_script()) == []


def test_without_a_link_nothing_is_shown(visit):
    tab = visit(images=1)
    tab.page.goto(tab.url)
    expect(tab.page.locator("main")).to_contain_text("Open the link")
    tab.page.goto(tab.url + "/enter#wrong")
    expect(tab.page.locator("#entering")).to_contain_text("not valid")
    assert tab.page.url == tab.url + "/enter"
    assert all("401" in line for line in tab.complaints)
    tab.complaints.clear()
