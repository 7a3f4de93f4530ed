// The printed link's token, exchanged for a cookie. The page navigates itself: a redirect would lose the cookie.

import { post } from "./api.js";
import { byId } from "./dom.js";

const token = window.location.hash.slice(1);
// The token is not to stay in the history of a shared browser.
window.history.replaceState(null, "", window.location.pathname);
byId("again").addEventListener("click", enter);
await enter();

async function enter() {
  byId("again").hidden = true;
  try {
    const { path } = await post("/api/session", { token });
    window.location.replace(path);
  } catch (error) {
    const wrong = error.status === 401 || error.status === 422;
    byId("entering").textContent = wrong
      ? "This link is not valid any more, or not complete. Copy the whole link that weakseg printed, or ask for a new one."
      : error.message;
    byId("again").hidden = wrong;
  }
}
