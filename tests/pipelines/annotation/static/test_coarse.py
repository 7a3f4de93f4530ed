"""The page of areas: polygons drawn, moved, taken back."""

import json

import pytest
from browser import axe_script, violations
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

KINDS = ("pixel", "coarse")


def place(tab, x, y):
    """Screen coordinates of image coordinates (the test images are 64 x 48, shown whole in the middle)."""
    box = tab.page.locator("#drawing").bounding_box()
    scale = min((box["width"] - 12) / 64, (box["height"] - 12) / 48)
    left, top = box["x"] + (box["width"] - 64 * scale) / 2, box["y"] + (box["height"] - 48 * scale) / 2
    return left + x * scale, top + y * scale


def click(tab, *points):
    for x, y in points:
        tab.page.mouse.click(*place(tab, x, y))


def drag(tab, *points):
    tab.page.mouse.move(*place(tab, *points[0]))
    tab.page.mouse.down()
    for point in points[1:]:
        tab.page.mouse.move(*place(tab, *point), steps=4)
    tab.page.mouse.up()


def areas(tab):
    """What was saved last."""
    rows = tab.site.desk().answers.since()
    return [(row["class_id"], row["points"]) for row in json.loads(rows[-1].value)]


def near(points, expected):
    return len(points) == len(expected) and all(
        abs(a - b) <= 0.5
        for point, other in zip(points, expected, strict=True)
        for a, b in zip(point, other, strict=True)
    )


def test_polygons_are_drawn_moved_undone_and_saved(visit):
    tab = visit(images=2, kinds=KINDS)
    tab.enter(path="/coarse")
    listed = tab.page.locator("#areas li")
    tab.page.keyboard.press("2")
    click(tab, (10, 10), (30, 10), (30, 30), (10, 30), (10, 10))  # the first corner again closes it
    expect(listed).to_have_text(["water, 4 cornersRemove"])
    drag(tab, (30, 30), (40, 40))
    tab.page.keyboard.press("3")
    click(tab, (50, 5), (60, 5), (60, 20))
    tab.page.keyboard.press("Enter")
    expect(listed).to_have_count(2)
    for count in (1, 1, 1, 1, 1, 0, 0):  # close, three corners, the move, close, a corner: each its own step
        tab.page.keyboard.press("Backspace")
        expect(listed).to_have_count(count)
    for _ in range(7):
        tab.page.keyboard.press("Control+Shift+Z")
    expect(listed).to_have_count(2)
    click(tab, (5, 45))
    tab.page.keyboard.press("Escape")
    tab.press("Control+Enter")
    tab.saved()
    (first, corners), (second, others) = areas(tab)
    assert (first, second) == (1, 2)
    assert near(corners, [(10, 10), (30, 10), (40, 40), (10, 30)])
    assert near(others, [(50, 5), (60, 5), (60, 20)])


def test_the_image_stays_where_it_is_while_one_draws(visit):
    tab = visit(images=3, kinds=KINDS)
    for width in (320, 800, 1100):
        tab.page.set_viewport_size({"width": width, "height": 600})
        tab.enter(path="/coarse")
        before = tab.page.locator("#drawing").bounding_box()
        click(tab, (10, 10), (30, 10), (30, 30))
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("#last")).to_have_text("Area of meadow closed.")
        assert tab.page.locator("#drawing").bounding_box() == before, width
        tab.press("Control+Enter")
        tab.saved()


def test_a_line_drawn_in_one_go_becomes_an_area_within_the_image(visit):
    tab = visit(images=1, kinds=KINDS)
    tab.enter(path="/coarse")
    drag(tab, (20, 20), (70, 20), (70, 40), (20, 40), (20, 21))
    expect(tab.page.locator("#areas li")).to_have_count(1)
    tab.page.keyboard.press("Control+Enter")
    tab.saved()
    ((class_id, corners),) = areas(tab)
    assert class_id == 0
    assert 4 <= len(corners) <= 8
    assert max(x for x, _ in corners) == 64


def test_areas_by_keys_alone_nothing_to_mark_and_going_back(visit):
    tab = visit(images=3, kinds=KINDS)
    tab.enter(path="/coarse")
    tab.page.keyboard.press("3")
    for moves in (["ArrowLeft"] * 3, ["ArrowRight"] * 6, ["ArrowUp"] * 5):
        for move in moves:
            tab.page.keyboard.press(move)
        tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#areas li")).to_have_text(["house, 3 cornersRemove"])
    first = tab.press("Control+Enter")
    tab.press("Control+Enter")  # nothing to mark
    tab.press("Backspace")
    tab.press("Backspace")
    assert tab.shown() == first
    expect(tab.page.locator("#areas li")).to_have_text(["house, 3 cornersRemove"])
    tab.page.get_by_role("button", name="Remove area 1, house").click()
    tab.press("Control+Enter")
    tab.press("Space")
    tab.saved()
    rows = tab.site.desk().answers.since()
    assert [len(json.loads(row.value)) if row.value else row.class_id for row in rows] == [1, 0, 0, 255]
    assert rows[2].supersedes == rows[0].answer_id


def test_corners_are_moved_by_keys_and_what_is_drawn_outlives_a_reload(visit):
    tab = visit(images=1, kinds=KINDS)
    tab.enter(path="/coarse")
    tab.page.keyboard.press("2")
    click(tab, (10, 10), (30, 10), (30, 30))
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("PageDown")
    expect(tab.page.locator("#said")).to_contain_text("Corner 1 of water")
    tab.page.keyboard.press("PageUp")  # around to the last one
    expect(tab.page.locator("#said")).to_contain_text("Corner 3 of water")
    for _ in range(60):
        tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Enter")  # no corner is set where one was put down
    expect(tab.page.locator("#areas li")).to_have_text(["water, 3 cornersRemove"])
    tab.page.keyboard.press("PageDown")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Backspace")  # a whole movement is one step
    click(tab, (50, 40))
    tab.page.reload()
    tab.shown()
    expect(tab.page.locator("#areas li")).to_have_text(["water, 3 cornersRemove"])
    expect(tab.page.locator("#close")).to_be_enabled()
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("Control+Enter")
    tab.saved()
    ((class_id, corners),) = areas(tab)
    assert class_id == 1
    assert near(corners, [(10, 10), (30, 10), (64, 30)])


def test_cannot_tell_throws_no_drawing_away(visit):
    tab = visit(images=2, kinds=KINDS)
    tab.enter(path="/coarse")
    click(tab, (10, 10), (30, 10), (30, 30))
    tab.page.keyboard.press("Enter")
    click(tab, (50, 40))
    first = tab.press("Space")
    tab.press("Backspace")
    listed = tab.page.locator("#areas li")
    expect(listed).to_have_text(["meadow, 3 cornersRemove"])
    expect(tab.page.locator("#void")).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.press("Backspace")  # with all its steps
    expect(tab.page.locator("#close")).to_be_disabled()
    tab.press("Control+Enter")
    tab.press("Backspace")
    tab.press("Space")  # what was saved before is not lost over a reload either
    tab.saved()
    tab.page.reload()
    tab.press("Backspace")
    assert tab.shown() == first
    expect(listed).to_have_text(["meadow, 3 cornersRemove"])
    tab.press("Control+Enter")
    tab.saved()
    rows = tab.site.desk().answers.since()
    assert [len(json.loads(row.value)) if row.value else row.class_id for row in rows] == [255, 1, 255, 1]


def test_corners_of_a_closed_area_are_taken_over_and_stay(visit):
    tab = visit(images=1, kinds=KINDS)
    tab.enter(path="/coarse")
    click(tab, (10, 10), (30, 10), (30, 30), (10, 30), (10, 10))
    tab.page.keyboard.press("2")
    click(tab, (50, 10))
    drag(tab, (30.4, 9.6), (30.45, 9.6))  # a hand that trembles
    drag(tab, (29.8, 30.3), (40, 40), (50, 30))
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Control+Enter")
    tab.saved()
    (_, old), (_, new) = areas(tab)
    assert near(old, [(10, 10), (30, 10), (30, 30), (10, 30)])
    assert new[1:3] == old[1:3]
    assert near([new[0], *new[-2:]], [(50, 10), (40, 40), (50, 30)])


def test_a_corner_that_keys_moved_is_let_go_where_its_area_is_closed(visit):
    tab = visit(images=1, kinds=KINDS)
    tab.enter(path="/coarse")
    click(tab, (10, 10), (30, 10), (30, 30))
    tab.page.keyboard.press("PageUp")
    tab.page.locator("#close").click()
    expect(tab.page.locator("#areas li")).to_have_count(1)
    for _ in range(3):
        tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("Backspace")
    expect(tab.page.locator("#areas li")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_320_pixels_and_can_be_used_without_seeing_it(visit, scheme):
    tab = visit(images=1, kinds=KINDS, context={"viewport": {"width": 320, "height": 568}, "color_scheme": scheme})
    tab.enter(path="/coarse")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 320
    tab.page.keyboard.press("2")
    expect(tab.page.locator("#said")).to_have_text("Drawing water.")
    click(tab, (10, 10), (30, 10), (30, 30))
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#areas li")).to_have_count(1)
    assert violations(tab.page, axe_script()) == []
