// What belongs to one image lights up together: its two places, and the line between them.
export function watchLab() {
  const sides = document.querySelector(".sides");
  if (!sides) return;
  const light = (event, on) => {
    const row = event.target.closest("[data-row]")?.dataset.row;
    if (!row) return;
    for (const one of document.querySelectorAll(`[data-row="${row}"]`)) one.classList.toggle("lit", on);
  };
  for (const [kind, on] of [["mouseover", true], ["mouseout", false], ["focusin", true], ["focusout", false]]) {
    sides.addEventListener(kind, (event) => light(event, on));
  }
}
