// Who is there: images are kept for whoever is at work, and given back by whoever leaves.

import { ApiError, post, remove } from "./api.js";

const ALIVE = 60_000;
const AWAY = 300_000; // ms without a move after which others may have the images
const MOST = 16; // images in a request
const PATIENCE = 3000;

/** Watch over what a page holds. */
export function attend(frame) {
  setInterval(() => frame.clock.still <= AWAY && renew(frame), ALIVE);
  document.addEventListener("visibilitychange", () => renew(frame));
  window.addEventListener("pagehide", () => release(frame));
  // A page that the browser kept has given its images back: what is due is asked anew.
  window.addEventListener("pageshow", (event) => event.persisted && window.location.reload());
}

/** Send what waits, give the images back, and be nobody. */
export async function signOut(frame) {
  await frame.outbox.settled(PATIENCE);
  if (frame.outbox.waiting) {
    frame.note("You stay signed in until your answers are sent.", true);
    return;
  }
  try {
    await release(frame);
    await remove("/api/session");
    window.location.assign("/");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    frame.fault(error);
  }
}

// What goes wrong with either shows with the next answer or poll.

async function renew(frame) {
  const images = frame.held().slice(0, MOST);
  if (document.visibilityState === "hidden" || images.length === 0) return;
  await post("/api/alive", { images }).catch(() => {});
}

async function release(frame) {
  const images = frame.spare().slice(0, MOST);
  if (images.length) await post("/api/release", { kind: frame.kind, images }, { keepalive: true }).catch(() => {});
}
