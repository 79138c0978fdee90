// Each page's behaviour: every module looks for what it serves and leaves the rest alone.
import { watchBroken } from "./pictures.js";
import { placeAll } from "./masonry.js";
import { watchMore } from "./more.js";
import { watchGrid, watchClicks } from "./events.js";
import { watchSaves } from "./save.js";
import { watchKeys } from "./keys.js";
import { watchLab } from "./lab.js";

function start() {
  watchBroken();
  placeAll();
  document.querySelectorAll(".masonry").forEach(watchGrid);
  watchMore();
  watchClicks();
  watchSaves();
  watchKeys();
  watchLab();
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
