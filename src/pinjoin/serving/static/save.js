// The dialog that saves an image to a board: one that is there, found by typing, or a new one.
import { address, post, uniqueKey, user } from "./server.js";
import { noteAction, noteHere } from "./events.js";

const PAUSE_MS = 120;
const RECENT = "pinjoin.recent-boards";
const MOST_RECENT = 5;
let dialog, field, list, problem;
let subject = null; // what is being saved: its element, its button, and the key of the attempt
let options = [];
let listed = ""; // what was typed when the options were found
let chosen = 0;
let asked = 0;

function open(button) {
  const holder = button.closest("[data-id]");
  const title = holder.querySelector("h1, .name").textContent;
  subject = { holder, button, title, keys: new Map() };
  const picture = holder.querySelector(".tile").cloneNode(true);
  picture.querySelector("img")?.setAttribute("sizes", "64px");
  const name = document.createElement("b");
  name.textContent = title;
  dialog.querySelector(".what").replaceChildren(picture, name);
  problem.textContent = "";
  field.value = "";
  options = [];
  show();
  dialog.showModal();
  field.focus();
  suggest();
}

const recent = () => JSON.parse(localStorage.getItem(RECENT) ?? "[]");

function remember(board) {
  const others = recent().filter((one) => one.id !== board.id);
  localStorage.setItem(RECENT, JSON.stringify([board, ...others].slice(0, MOST_RECENT)));
}

async function suggest() {
  const mine = ++asked;
  const typed = field.value.trim();
  let boards = [];
  try {
    const response = await fetch(address(`/ui/boards?q=${encodeURIComponent(typed)}`));
    if (response.ok) boards = (await response.json()).boards;
  } catch {
    // A new board can be made all the same.
  }
  if (mine !== asked) return;
  listed = typed;
  if (!typed) {
    const used = recent();
    boards = [...used, ...boards.filter((board) => used.every((one) => one.id !== board.id))];
  }
  options = boards;
  const known = boards.some((board) => board.title.toLowerCase() === typed.toLowerCase());
  if (typed && !known) options = [...boards, { title: typed, isNew: true }];
  chosen = typed || recent().length ? 0 : -1; // of strangers' boards, none by mistake
  show();
}

function show() {
  list.replaceChildren(
    ...options.map((option, i) => {
      const row = document.createElement("li");
      row.id = `board-${i}`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(i === chosen));
      row.classList.toggle("new", Boolean(option.isNew));
      const name = document.createElement("span");
      name.textContent = option.isNew ? `Make a new board “${option.title}”` : option.title;
      const size = document.createElement("small");
      const images = option.size && `${option.size} image${option.size === 1 ? "" : "s"}`;
      size.textContent = [option.owner, images].filter(Boolean).join(" · ");
      row.append(name, size);
      row.addEventListener("click", () => save(option));
      return row;
    }),
  );
  if (options[chosen]) field.setAttribute("aria-activedescendant", `board-${chosen}`);
  else field.removeAttribute("aria-activedescendant");
  list.children[chosen]?.scrollIntoView({ block: "nearest" });
}

async function save(option) {
  if (dialog.getAttribute("aria-busy") === "true") return;
  dialog.setAttribute("aria-busy", "true");
  problem.textContent = "";
  // The same try again has the same key: a save whose answer was lost is not made twice.
  const wish = option.isNew ? `new ${option.title}` : option.id;
  if (!subject.keys.has(wish)) subject.keys.set(wish, uniqueKey());
  const { holder, button } = subject;
  const board = option.isNew ? { board: { title: option.title } } : { board_id: option.id };
  const pin = { id: holder.dataset.id, user_id: user, key: subject.keys.get(wish), ...board };
  try {
    const { board_id: id } = await post("/v1/saves", pin);
    if (holder.matches(".card")) noteAction(holder, "save");
    else noteHere(holder.dataset.id, "save");
    button.classList.add("done");
    button.querySelector("span").textContent = "Saved";
    const saved = { id, title: option.title };
    remember(saved);
    listBoard(holder, saved);
    dialog.close();
    tell(saved);
  } catch (error) {
    problem.textContent = error.message;
    if (error.status === 401) problem.append(" ", signIn());
  } finally {
    dialog.removeAttribute("aria-busy");
  }
}

function signIn() {
  const link = document.createElement("a");
  link.href = address("/sign-in");
  link.textContent = "Sign in";
  return link;
}

function boardLink(board) {
  const link = document.createElement("a");
  link.href = address(`/board/${encodeURIComponent(board.id)}`);
  link.textContent = board.title;
  return link;
}

function listBoard(holder, board) {
  const boards = holder.querySelector("[data-boards]");
  const link = boardLink(board);
  if (!boards || [...boards.querySelectorAll("a")].some((other) => other.href === link.href)) return;
  const row = document.createElement("li");
  row.append(link);
  boards.prepend(row);
}

function tell(board) {
  const toast = document.getElementById("toast");
  toast.replaceChildren("Saved to ", boardLink(board));
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => toast.replaceChildren(), 6000);
}

function onKey(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && options.length) {
    event.preventDefault();
    const from = chosen < 0 && step < 0 ? 0 : chosen;
    chosen = (from + step + options.length) % options.length;
    show();
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (listed !== field.value.trim()) suggest(); // never save to a board that was not shown
    else if (options[chosen]) save(options[chosen]);
  }
}

export function watchSaves() {
  dialog = document.getElementById("saver");
  field = dialog.querySelector("input");
  list = dialog.querySelector("ul");
  problem = dialog.querySelector(".problem");
  let pause = 0;
  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(suggest, PAUSE_MS);
  });
  field.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-save]");
    if (button) open(button);
  });
}
