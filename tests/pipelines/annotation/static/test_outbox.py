"""Answers on their way: what the server says of one of them never costs another."""

import pytest

pytestmark = pytest.mark.browser

# A server that takes a batch whole or not at all; `refuse` gives the error of a batch, or null.
SCRIPT = """async (name) => {
  const { Outbox } = await import("/static/outbox.js");
  const { ApiError } = await import("/static/api.js");
  const stored = [], refused = [];
  let free;
  const first = new Promise((resolve) => { free = resolve; });
  let turn = 0;
  const current = { id: "other", class: 1 };
  const cases = {
    conflict: (answers) => answers.some((one) => one.query === "c" && one.replaces !== "other")
      && [409, { code: "conflict", message: "m", index: null, current }],
    lease: (answers) => answers.some((one) => one.query === "c")
      && [409, { code: "lease_lost", message: "m", index: null }],
    proxy: () => turn++ < 2 && [[404, 403][turn - 1], { code: "failed", message: "m" }],
    large: (answers) => JSON.stringify(answers).length > 2 ** 20
      && [413, { code: "too_large", message: "m", index: null }],
  };
  const outbox = new Outbox({
    owner: "test", mark: "a", storage: null,
    stored: () => {}, refused: (entry) => refused.push(entry.query), changed: () => {},
    post: async (path, { answers }) => {
      await first;
      const error = cases[name](answers);
      if (error) throw new ApiError(...error);
      stored.push(...answers.map((one) => [one.query, one.replaces]));
      return { answers: answers.map((one) => ({ query: one.query, id: `id-${one.query}` })), progress: {} };
    },
  });
  const points = Array(18000).fill([12.5, 20.5]);
  const content = name === "large" ? { polygons: [{ class: 0, holes: [], points }] } : { class: 0 };
  for (const query of ["a", "b", "c", "d", "e", "f", "g", "h"]) outbox.put(query, content, 1, 1);
  free();
  for (let times = 0; times < 200 && outbox.waiting; times += 1) await outbox.settled(50);
  return { stored, refused, waiting: outbox.waiting };
}"""


def test_only_the_answer_that_is_meant_is_refused(visit):
    tab = visit(images=1)
    tab.enter()
    for case, replaced, refused in (
        ("conflict", {"c": "other"}, []),
        ("lease", {}, ["c"]),
        ("proxy", {}, []),
        ("large", {}, []),
    ):
        assert tab.page.evaluate(SCRIPT, case) == {
            "stored": [[query, replaced.get(query)] for query in "abcdefgh" if query not in refused],
            "refused": refused,
            "waiting": 0,
        }, case
