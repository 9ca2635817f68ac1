"use strict";
// Charts: figures are stored in light colours; each is drawn again when the colour scheme changes.
const page = JSON.parse(document.getElementById("page-data").textContent);
const scheme = matchMedia("(prefers-color-scheme: dark)");
const hidden = new Set();
let printing = false;

function themed(value, dark) {
  if (Array.isArray(value)) return value.map((item) => themed(item, dark));
  if (value !== null && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, dark)]));
  return dark && Object.hasOwn(page.dark, value) ? page.dark[value] : value;
}

function draw() {
  const dark = scheme.matches && !printing;
  const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
  const config = {
    responsive: true, displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  for (const place of document.querySelectorAll("[data-chart]")) {
    const figure = themed(page.figures[place.dataset.chart], dark);
    for (const trace of figure.data) trace.visible = !hidden.has(trace.legendgroup);
    figure.layout.dragmode = dragmode;
    Plotly.react(place, figure.data, figure.layout, config);
  }
}

for (const button of document.querySelectorAll("[data-group]"))
  button.addEventListener("click", () => {
    const group = button.dataset.group;
    if (!hidden.delete(group)) hidden.add(group);
    button.setAttribute("aria-pressed", String(!hidden.has(group)));
    draw();
  });

// Tables: rows are sorted by a header's column, what is empty last in either direction.
function sortBy(header) {
  const table = header.closest("table");
  const body = table.tBodies[0];
  const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const isNumber = header.classList.contains("number");
  const valueOf = (row) => {
    const text = row.cells[header.cellIndex].textContent.trim();
    return isNumber ? parseFloat(text) : text;
  };
  const isEmpty = (value) => value === "" || Number.isNaN(value);
  const compare = (a, b) => (isNumber ? a - b : a.localeCompare(b, "en", { numeric: true }));
  const rows = Array.from(body.rows, (row) => [valueOf(row), row]);
  rows.sort(([a], [b]) => isEmpty(a) - isEmpty(b) || (isEmpty(a) ? 0 : sign * compare(a, b)));
  body.append(...rows.map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
}

for (const button of document.querySelectorAll("table.sortable thead button"))
  button.addEventListener("click", () => sortBy(button.closest("th")));

// Filter: a row stays where every word occurs in it and the method is the chosen one.
const [text, method, count] = ["text", "method", "count"].map((n) => document.getElementById(`filter-${n}`));
function filter() {
  const words = text.value.toLowerCase().split(/\s+/);
  const rows = [...document.querySelector("#points-table").tBodies[0].rows];
  for (const row of rows) {
    const content = row.textContent.toLowerCase();
    const chosen = !method.value || row.dataset.method === method.value;
    row.hidden = !(chosen && words.every((word) => content.includes(word)));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  count.textContent = shown === rows.length ? `${shown} points` : `${shown} of ${rows.length} points`;
}
text.addEventListener("input", filter);
method.addEventListener("input", filter);
text.form.addEventListener("submit", (event) => event.preventDefault());

if (document.querySelector("[data-chart]")) {
  scheme.addEventListener("change", draw);
  addEventListener("beforeprint", () => {
    printing = true;
    for (const part of document.querySelectorAll("details")) part.open = true;
    draw();
  });
  addEventListener("afterprint", () => { printing = false; draw(); });
  draw();
}
