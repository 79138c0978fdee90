// A grid without gaps: each card goes under the shortest column, in the order of the document, so
// that reading, tabbing and ranks agree. Pictures have their shape before they load: nothing jumps.
const NARROWEST = 236;
const ROW_GAP = 1.4;

export function place(grid) {
  const cards = [...grid.children];
  const gap = parseFloat(getComputedStyle(grid).getPropertyValue("column-gap")) || 12;
  const room = grid.clientWidth;
  const columns = Math.max(2, Math.floor((room + gap) / (NARROWEST + gap)));
  const width = (room - gap * (columns - 1)) / columns;
  for (const card of cards) card.style.width = `${width}px`;
  grid.classList.add("placed");
  const heights = cards.map((card) => card.offsetHeight); // one reading after all writing
  const ends = new Array(columns).fill(0);
  cards.forEach((card, i) => {
    const column = ends.reduce((best, end, c) => (end < ends[best] - 1 ? c : best), 0);
    card.style.left = `${column * (width + gap)}px`;
    card.style.top = `${ends[column]}px`;
    ends[column] += heights[i] + gap * ROW_GAP;
  });
  grid.style.height = `${Math.max(...ends)}px`;
}

export function placeAll() {
  const widths = new WeakMap();
  const observer = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      if (widths.get(target) === contentRect.width) continue;
      widths.set(target, contentRect.width);
      place(target);
    }
  });
  for (const grid of document.querySelectorAll(".masonry")) {
    place(grid);
    observer.observe(grid);
  }
}
