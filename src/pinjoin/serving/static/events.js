// The log of what was seen and done: an impression once at least half of a card has been on the
// screen for a second; clicks and saves of cards; and, on the page that a click led to, what is
// done there, as actions on the card that was clicked. Cards without a request are not logged.
import { post, uniqueKey, user } from "./server.js";

const SEEN_SHARE = 0.5;
const SEEN_MS = 1000;
const FLUSH_MS = 4000;
const LARGEST_BATCH = 100;
const CAME_FROM = "pinjoin.came-from";

const waiting = [];
const seen = new WeakSet();
const timers = new Map();
let sending = null; // a batch keeps its key until the server has it: sent twice, it counts once
let timer = 0;

function device() {
  if (matchMedia("(max-width: 700px)").matches) return "mobile";
  return matchMedia("(pointer: coarse) and (max-width: 1400px)").matches ? "tablet" : "desktop";
}

function eventOf(card) {
  const { query, surface, arm } = card.closest(".masonry").dataset;
  const { request, position, id } = card.dataset;
  const event = { request_id: request, query, candidate: id, position, device: device(), surface, user_id: user };
  return arm ? { ...event, arm } : event;
}

function isLogged(card) {
  return Boolean(user && card?.dataset.request && card.closest(".masonry")?.dataset.query);
}

function note(event, action) {
  waiting.push({ ...event, action });
  timer ||= setTimeout(flush, FLUSH_MS);
}

function noteSeen(card) {
  if (seen.has(card)) return;
  seen.add(card);
  observer.unobserve(card);
  note(eventOf(card), "impression");
}

/** Log an action on a card: it was seen, then, however short. */
export function noteAction(card, action) {
  if (!isLogged(card)) return;
  noteSeen(card);
  note(eventOf(card), action);
  flush();
}

/** Log an action on what this page shows large, as one on the card that led here, if one did. */
export function noteHere(id, action) {
  const from = JSON.parse(sessionStorage.getItem(CAME_FROM) ?? "null");
  if (from?.candidate !== id) return;
  note(from, action);
  flush();
}

export async function flush() {
  clearTimeout(timer);
  timer = 0;
  if (sending?.busy || !(sending || waiting.length)) return;
  sending ??= { key: uniqueKey(), events: waiting.splice(0, LARGEST_BATCH) };
  sending.busy = true;
  try {
    await post("/v1/events", { key: sending.key, events: sending.events }, { keepalive: true });
    sending = null;
  } catch (error) {
    if (error.status >= 400 && error.status < 500 && error.status !== 429) sending = null; // never will
    else sending.busy = false;
  }
  if (sending || waiting.length) timer ||= setTimeout(flush, sending ? FLUSH_MS : 0);
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, intersectionRatio } of entries) {
      clearTimeout(timers.get(target));
      timers.delete(target);
      if (intersectionRatio >= SEEN_SHARE && document.visibilityState === "visible") {
        timers.set(target, setTimeout(noteSeen, SEEN_MS, target));
      }
    }
  },
  { threshold: [0, SEEN_SHARE] },
);

export function watchGrid(grid) {
  for (const card of grid.children) if (isLogged(card) && !seen.has(card)) observer.observe(card);
}

function onVisibility() {
  if (document.visibilityState === "hidden") {
    timers.forEach(clearTimeout);
    timers.clear();
    return flush();
  }
  for (const card of document.querySelectorAll(".masonry > .card")) observer.unobserve(card);
  document.querySelectorAll(".masonry").forEach(watchGrid); // their second begins anew
}

function onClick(event) {
  const link = event.target.closest("a");
  if (!link || event.button > 1) return;
  const card = link.closest(".card");
  if (isLogged(card) && link.matches(".opens, .name")) {
    sessionStorage.setItem(CAME_FROM, JSON.stringify(eventOf(card)));
    noteAction(card, "click");
  } else if (link.matches("[data-through]")) {
    noteHere(link.closest("[data-id]").dataset.id, "clickthrough");
  }
}

export function watchClicks() {
  document.addEventListener("click", onClick);
  document.addEventListener("auxclick", onClick);
  document.addEventListener("visibilitychange", onVisibility);
  addEventListener("pagehide", flush);
}
