// A picture that cannot be shown gives way to the card with its title behind it.
function giveWay(picture) {
  picture.classList.add("broken");
  picture.alt = "";
  picture.parentElement.querySelector(".words")?.removeAttribute("aria-hidden");
}

export function watchBroken() {
  const isOurs = (node) => node instanceof HTMLImageElement && node.closest(".tile");
  document.addEventListener("error", (event) => isOurs(event.target) && giveWay(event.target), true);
  for (const picture of document.querySelectorAll(".tile img")) {
    if (picture.complete && picture.currentSrc && !picture.naturalWidth) giveWay(picture);
  }
}
