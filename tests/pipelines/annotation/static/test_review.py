"""The page where disagreements and one's own answers are looked at again."""

import pytest
from browser import axe_script, violations
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_disagreement_is_settled_by_changing_ones_mind(visit):
    anna = visit(images=1, pixels=1, annotators=("anna", "ben", "cleo"), overrides=("labelling.repeat=1.0",))
    anna.enter()
    anna.press("1")
    anna.saved()
    ben = visit(beside=anna)
    ben.enter("ben")
    ben.press("2")
    ben.saved()
    ben.page.goto(ben.url + "/review")
    ben.shown()
    expect(ben.page.locator("#says")).to_contain_text("anna: meadow")
    expect(ben.page.locator("#says")).to_contain_text("ben (me): water")
    assert violations(ben.page, axe_script()) == []
    ben.page.keyboard.press("1")
    expect(ben.page.locator("#cases")).to_contain_text("changed to meadow")
    ben.saved()
    assert [row.class_id for row in ben.site.desk().answers.since()] == [0, 1, 0]
    ben.page.reload()
    expect(ben.page.locator("#rest-title")).to_have_text("No disagreements")


def test_my_own_answers_of_closed_rounds_can_be_corrected(visit):
    tab = visit(images=2, pixels=1)
    tab.enter()
    tab.press("1")
    tab.press("2")
    tab.saved()
    tab.site.close(0)
    tab.page.goto(tab.url + "/review")
    tab.page.get_by_role("button", name="My answers").click()
    cases = tab.page.locator("#cases button")
    expect(cases).to_have_count(2)
    tab.shown()
    tab.page.keyboard.press("3")
    tab.saved()
    expect(tab.page.locator("#notes")).to_contain_text("kept for the next training")
    rows = tab.site.desk().answers.since()
    assert [row.class_id for row in rows] == [0, 1, 2]
    assert rows[2].supersedes == rows[1].answer_id
