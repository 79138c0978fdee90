// Keys: / searches, j and k and the arrows go from card to card, w tells why, s saves, ? helps.
const cards = () => [...document.querySelectorAll(".masonry > .card")];
const current = () => document.activeElement?.closest(".card");
const isTyping = (node) => node?.closest("input, textarea, select, [contenteditable]");

function focus(card) {
  card?.querySelector(".opens").focus();
  card?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const all = cards();
  const at = all.indexOf(current());
  focus(at < 0 ? all.find((card) => card.getBoundingClientRect().bottom > 80) : all[at + by]);
}

/** The nearest card in a direction, seen from the middle of another. */
function beside(card, dx, dy) {
  const middle = (one) => {
    const box = one.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const [x, y] = middle(card);
  let best, least = Infinity;
  for (const other of cards()) {
    const [ox, oy] = middle(other);
    const along = (ox - x) * dx + (oy - y) * dy;
    const across = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx);
    const far = along + 3 * across;
    if (across < along && far < least) [best, least] = [other, far];
  }
  return best;
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const card = current();
  const actions = {
    "/": () => {
      const search = document.getElementById("q");
      search.focus();
      search.select();
    },
    "?": () => document.getElementById("keys").showModal(),
    j: () => step(1),
    k: () => step(-1),
    w: () => card?.querySelector(".act.why")?.click(),
    s: () => (card ?? document.querySelector(".closeup"))?.querySelector("[data-save]")?.click(),
  };
  let action = actions[event.key];
  if (ARROWS[event.key] && event.target.matches(".card .opens")) {
    action = () => focus(beside(card, ...ARROWS[event.key]));
  }
  if (!action) return;
  event.preventDefault();
  action();
}

/** A card told why is left by its keys only once the reasons are closed. */
function onToggle(event) {
  if (!event.target.matches?.(".why-card")) return;
  if (event.newState === "open") event.target.querySelector(".shut").focus();
}

function isOutside({ target, clientX, clientY }) {
  const box = target.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

export function watchKeys() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("toggle", onToggle, true);
  document.addEventListener("click", (event) => {
    const opens = event.target.closest("[data-opens]")?.dataset.opens;
    if (opens) document.getElementById(opens).showModal();
    if (event.target.matches("dialog") && isOutside(event)) event.target.close();
  });
}
