
"use strict";
// The page is whole without this script; with it, the cards can be sorted and filtered.
const list = document.getElementById("cards");
const controls = document.getElementById("controls");
const cards = [...list.children];
const fields = [...controls.elements].filter((field) => field.name);
const [sort, filters] = [controls.elements.sort, fields.filter((field) => field.name !== "sort")];
const NUMBERS = ["number", "confidence", "distance", "lpips"];

function isOpen(field) {
  return field.value === (field.type === "range" ? field.defaultValue : "");
}

function passes(card, field) {
  const value = card.dataset[field.name];
  if (isOpen(field)) return true;
  if (field.type !== "range") return value === field.value;
  // What was not measured lies on no side of a bound.
  if (value === "") return false;
  return field.dataset.bound === "least" ? +value >= +field.value : +value <= +field.value;
}

function order(key) {
  const descending = key.startsWith("-");
  const name = descending ? key.slice(1) : key || "number";
  return (one, other) => {
    const [a, b] = [one.dataset[name], other.dataset[name]];
    const byNumber = one.dataset.number - other.dataset.number;
    if (a === b) return byNumber;
    if (a === "" || b === "") return a === "" ? 1 : -1;
    const rising = NUMBERS.includes(name) ? a - b : a.localeCompare(b);
    return (descending ? -rising : rising) || byNumber;
  };
}

function show() {
  let count = 0;
  for (const card of cards) {
    card.hidden = !filters.every((field) => passes(card, field));
    count += !card.hidden;
  }
  list.append(...[...cards].sort(order(sort.value)));
  document.getElementById("count").textContent = `${count} of ${cards.length} shown`;
  document.getElementById("none").hidden = count > 0;
  for (const field of filters.filter((each) => each.type === "range")) {
    const said = "percent" in field.dataset ? `${Math.round(field.value * 100)}%` : field.value;
    field.previousElementSibling.textContent = isOpen(field) ? "any" : said;
  }
}

function keep() {
  const chosen = fields.filter((field) => !isOpen(field)).map((field) => [field.name, field.value]);
  const state = new URLSearchParams(chosen).toString();
  history.replaceState(null, "", state ? `#${state}` : location.pathname);
}

function restore() {
  const state = new URLSearchParams(location.hash.slice(1));
  if (location.hash && !location.hash.includes("=")) return;
  for (const field of fields) {
    const unset = field.type === "range" ? field.defaultValue : "";
    field.value = state.get(field.name) ?? unset;
    if (field.selectedIndex === -1) field.value = unset;
  }
}

controls.addEventListener("input", () => { show(); keep(); });
controls.addEventListener("reset", () => setTimeout(() => { show(); keep(); }));
controls.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", () => { restore(); show(); });
controls.hidden = false;
restore();
show();
