// Grids load on: before their end is reached, or, where something follows them, when asked to.
// Without this, "Show more" is a link like any other.
import { place } from "./masonry.js";
import { watchGrid } from "./events.js";

async function load(link) {
  if (link.getAttribute("aria-busy") === "true") return;
  link.setAttribute("aria-busy", "true");
  link.textContent = "Loading …";
  const bar = link.parentElement;
  const grid = bar.previousElementSibling;
  try {
    const response = await fetch(link.href, { headers: { "X-Part": "grid" } });
    if (!response.ok) throw new Error(String(response.status));
    const part = new DOMParser().parseFromString(await response.text(), "text/html");
    grid.append(...part.querySelectorAll(".masonry > .card"));
    place(grid);
    watchGrid(grid);
    const next = part.querySelector("[data-more]");
    if (next) link.href = next.getAttribute("href");
    else return bar.remove();
    link.textContent = "Show more";
    if (link.dataset.more === "at-end") {
      near.unobserve(link); // observed anew, it tells at once if there is still room below
      near.observe(link);
    }
  } catch {
    near.unobserve(link);
    link.textContent = "That did not work. Try again";
  } finally {
    link.removeAttribute("aria-busy");
  }
}

const near = new IntersectionObserver(
  (entries) => entries.forEach((entry) => entry.isIntersecting && load(entry.target)),
  { rootMargin: "0px 0px 900px" },
);

export function watchMore() {
  for (const link of document.querySelectorAll("[data-more]")) {
    if (link.dataset.more === "at-end") near.observe(link);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      load(link);
    });
  }
}
