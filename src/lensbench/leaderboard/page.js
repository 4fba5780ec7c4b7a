"use strict";
// Sorting, filtering, choice of columns, and a readout for the confusion maps. The page is whole without it.

const value = (cell) => {
  const text = cell.dataset.v ?? cell.textContent.trim();
  const number = text === "" ? NaN : Number(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
};

// Numbers before words, missing values ("–") last whichever way the column is sorted.
const compare = (a, b, sign) => {
  const missing = (a === "–") - (b === "–");
  if (missing) return missing;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (a < b ? -1 : a > b ? 1 : 0);
};

function sort(head) {
  const down = head.ariaSort ? head.ariaSort === "ascending" : head.dataset.sort === "down";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  for (const body of head.closest("table").tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("part"));
    const keyed = rows.map((row) => [value(row.cells[head.cellIndex]), row]);
    keyed.sort((a, b) => compare(a[0], b[0], down ? -1 : 1));
    body.append(...keyed.map((pair) => pair[1]));
  }
}

for (const head of document.querySelectorAll("th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head));
  head.append(button);
}

const controls = document.querySelector(".controls");
controls.hidden = false;

const found = [...document.querySelectorAll("[data-find]")];
controls.querySelector("input[type=search]").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of found) item.hidden = !words.every((word) => item.dataset.find.includes(word));
  const rows = found.filter((item) => item.matches(".board tr"));
  const left = rows.filter((row) => !row.hidden).length;
  for (const part of document.querySelectorAll(".board .part")) {
    const others = [...part.parentElement.rows].filter((row) => row !== part);
    part.hidden = words.length > 0 && !others.some((row) => !row.hidden);
  }
  const nothing = document.querySelector(".board .nothing");
  nothing.hidden = !words.length || left > 0;
  nothing.rows[0].hidden = false;
  controls.querySelector("output").value = words.length ? `${left} of ${rows.length} rows` : "";
});

const show = (box) => {
  for (const cell of document.querySelectorAll(`.board [data-c="${box.value}"]`)) cell.hidden = !box.checked;
};
for (const box of controls.querySelectorAll("input[type=checkbox]")) {
  show(box);
  box.addEventListener("change", () => show(box));
}

// A link to a record opens it.
const open = () => {
  const target = document.getElementById(location.hash.slice(1));
  target?.closest("details")?.setAttribute("open", "");
  target?.scrollIntoView();
};
addEventListener("hashchange", open);
open();

for (const map of document.querySelectorAll(".map")) {
  const figure = map.closest("figure");
  const readout = figure.querySelector(".readout");
  const levels = [...figure.querySelectorAll(".legend li")].map((item) => item.textContent);
  const last = map.dataset.n - 1;
  const names = [];
  const cells = new Map();
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  let [row, column] = [0, 0];
  const prepare = () => {
    for (const line of map.closest(".body").querySelectorAll("tr[data-i]")) names[line.dataset.i] = line.cells[0].textContent;
    for (const path of map.querySelectorAll("path")) {
      const level = levels[path.getAttribute("class").slice(1)];
      for (const cell of path.getAttribute("d").matchAll(/M(\d+) (\d+)h1/g)) cells.set(`${cell[2]},${cell[1]}`, level);
    }
    map.append(mark);
  };
  const clamp = (index) => Math.min(Math.max(index, 0), last);
  const read = (y, x) => {
    if (!names.length) prepare();
    [row, column] = [clamp(y), clamp(x)];
    mark.setAttribute("x", column);
    mark.setAttribute("y", row);
    const share = cells.get(`${row},${column}`) ?? "0 %";
    readout.textContent = `${names[row]} → ${names[column]}: ${share} of ${names[row]}`;
  };
  // A finger is wider than a cell: a tap reads the nearest cell that is not empty.
  const nearest = (y, x) => {
    if (!names.length) prepare();
    const away = ([i, j]) => Math.hypot(i + 0.5 - y, j + 0.5 - x);
    return [...cells.keys()].map((key) => key.split(",").map(Number)).reduce((a, b) => (away(b) < away(a) ? b : a));
  };
  const point = (event) => {
    const box = map.getBoundingClientRect();
    const y = ((event.clientY - box.top) / box.height) * map.dataset.n;
    const x = ((event.clientX - box.left) / box.width) * map.dataset.n;
    read(...(event.pointerType === "touch" ? nearest(y, x) : [Math.floor(y), Math.floor(x)]));
  };
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  map.addEventListener("pointermove", point);
  map.addEventListener("pointerdown", point);
  map.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    read(row + step[0], column + step[1]);
  });
  mark.setAttribute("class", "mark");
  mark.setAttribute("width", 1);
  mark.setAttribute("height", 1);
  map.setAttribute("tabindex", "0");
  readout.hidden = false;
  readout.textContent = "Point at a cell or tap it to read it; the arrow keys move from cell to cell.";
}
