"""The page of proportions: whatever is pressed, the shares sum to 100 %."""

import json

import pytest
from browser import axe_script, violations
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def values(tab):
    return [int(slider.input_value()) for slider in tab.page.locator("#shares input").all()]


def test_keys_move_shares_by_one_and_five_and_always_to_a_sum_of_100(visit):
    tab = visit(images=3, kinds=("pixel", "proportions"))
    tab.enter(path="/proportions")
    tab.page.keyboard.press("2")
    assert values(tab) == [0, 100, 0]
    tab.page.keyboard.press("1")
    for key, expected in (
        ("Shift+ArrowUp", [5, 95, 0]),
        ("ArrowUp", [6, 94, 0]),
        ("PageUp", [11, 89, 0]),
        ("ArrowDown", [10, 90, 0]),
        ("3", [10, 90, 0]),
        ("PageUp", [10, 85, 5]),
        ("ArrowDown", [10, 86, 4]),
        ("ArrowLeft", [10, 87, 3]),
    ):
        tab.page.keyboard.press(key)
        assert values(tab) == expected, key
    expect(tab.page.get_by_role("slider", name="house")).to_have_attribute("aria-valuetext", "3 %")
    tab.page.get_by_role("slider", name="meadow").fill("100")
    assert values(tab) == [100, 0, 0]
    tab.page.get_by_role("slider", name="meadow").fill("40")
    assert sum(values(tab)) == 100


def test_answers_same_as_last_void_and_going_back(visit):
    tab = visit(images=3, kinds=("pixel", "proportions"))
    tab.enter(path="/proportions")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#last")).to_contain_text("largest class first")
    tab.page.keyboard.press("1")
    tab.page.keyboard.press("2")
    tab.page.keyboard.press("PageUp")
    first = tab.press("Enter")
    tab.page.keyboard.press("=")
    assert values(tab) == [95, 5, 0]
    second = tab.press("Enter")
    third = tab.press("Space")
    expect(tab.page.locator("#rest-title")).to_be_visible()
    tab.saved()
    tab.page.reload()
    expect(tab.page.locator("#rest-title")).to_be_visible()
    # Back to the third, then to the second, which is changed.
    tab.page.keyboard.press("Backspace")
    assert tab.shown() == third
    expect(tab.page.locator("#void")).to_have_attribute("aria-pressed", "true")
    tab.press("Backspace")
    assert tab.shown() == second
    assert values(tab) == [95, 5, 0]
    tab.page.keyboard.press("3")
    tab.page.keyboard.press("Shift+ArrowUp")
    tab.press("Enter")
    tab.saved()
    rows = tab.site.desk().answers.since()
    assert [tab.where(query)[0] for query in (first, second, third, second)] == [row.image_id for row in rows]
    assert [row.value and json.loads(row.value) for row in rows] == [
        [0.95, 0.05, 0],
        [0.95, 0.05, 0],
        None,
        [0.9, 0.05, 0.05],
    ]
    assert rows[3].supersedes == rows[1].answer_id


def test_shares_that_are_set_stay_while_other_images_are_looked_at(visit):
    tab = visit(images=2, kinds=("pixel", "proportions"))
    tab.enter(path="/proportions")
    tab.page.keyboard.press("2")
    tab.press(".")
    assert values(tab) == [34, 33, 33]
    tab.press(",")
    assert values(tab) == [0, 100, 0]
    tab.press("Space")
    tab.press("Backspace")
    assert values(tab) == [0, 100, 0]


def test_who_finds_all_held_by_others_is_sent_nowhere(visit):
    kinds = ("pixel", "proportions")
    anna = visit(images=2, pixels=1, kinds=kinds, annotators=("anna", "ben"))
    anna.enter(path="/proportions")
    beside = visit(beside=anna)
    beside.enter("anna")
    ben = visit(beside=anna)
    ben.page.goto(ben.links["ben"])
    ben.page.wait_for_url(ben.url + "/")
    rest = ben.page.locator("#rest-title")
    for path in ("/", "/proportions"):
        ben.page.goto(ben.url + path)
        expect(rest).to_have_text("Nothing left for you just now")
        expect(ben.page.locator("nav .badge")).to_have_count(0)
    beside.press("1")
    beside.press("2")
    ben.page.goto(ben.url)
    expect(rest).to_have_text("Nothing left for you just now")


def test_a_link_leads_to_where_something_is_asked(visit):
    tab = visit(images=2, kinds=("proportions",))
    tab.page.goto(tab.links["anna"])
    tab.shown()
    assert tab.page.url == tab.url + "/proportions"
    tab.press("Space")
    tab.press("Space")
    expect(tab.page.locator("#rest-title")).to_be_visible()


def test_random_presses_never_leave_100(visit):
    tab = visit(images=1, kinds=("pixel", "proportions"))
    tab.enter(path="/proportions")
    sums = tab.page.evaluate(
        """async () => {
          const { Shares, toWhole } = await import("/static/shares.js");
          let state = 1;
          const random = (n) => (state = (state * 48271) % 2147483647) % n;
          const sums = new Set();
          for (let classes = 1; classes < 9; classes += 1) {
            const shares = new Shares(classes);
            for (let step = 0; step < 300; step += 1) {
              const [index, value] = [random(classes), random(140) - 20];
              const got = shares.set(index, value);
              if (classes > 1 && got !== Math.min(100, Math.max(0, value))) sums.add(`wanted ${value}, got ${got}`);
              if (shares.values.some((share) => share < 0 || !Number.isInteger(share))) sums.add(String(shares.values));
              sums.add(shares.values.reduce((a, b) => a + b));
            }
          }
          sums.add(toWhole([1 / 3, 1 / 3, 1 / 3]).reduce((a, b) => a + b));
          return [...sums];
        }"""
    )
    assert sums == [100]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_320_pixels_and_can_be_used_without_seeing_it(visit, scheme):
    tab = visit(
        images=1,
        kinds=("pixel", "proportions"),
        context={"viewport": {"width": 320, "height": 568}, "color_scheme": scheme},
    )
    tab.enter(path="/proportions")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 320
    tab.page.keyboard.press("2")
    expect(tab.page.locator("#said")).to_have_text("water, 100 %")
    assert violations(tab.page, axe_script()) == []
    # What is focused is not below the buttons.
    tab.page.get_by_role("slider", name="house").evaluate("(node) => node.closest('.side').scrollTo(0, 0)")
    tab.page.set_viewport_size({"width": 320, "height": 420})
    tab.page.keyboard.press("3")
    slider = tab.page.get_by_role("slider", name="house").bounding_box()
    assert slider["y"] + slider["height"] <= tab.page.locator("#save").bounding_box()["y"]
