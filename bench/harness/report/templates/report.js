"use strict";

// Pictures. Colours depend on the page's scheme, so they are chosen here and chosen anew when it changes.
const { figures, style } = JSON.parse(document.getElementById("figures").textContent);
const config = { responsive: true, displaylogo: false, displayModeBar: false };

const night = matchMedia("(prefers-color-scheme: dark)");

function themed(figure, width) {
  const css = getComputedStyle(document.documentElement);
  const ink = css.getPropertyValue("--ink").trim();
  const faint = css.getPropertyValue("--line").trim();
  const colors = night.matches ? style.darkColors : style.colors;
  const data = figure.data.map((trace) => {
    const number = trace.meta.color;
    const color = trace.meta.part ? style.parts[trace.meta.part] : colors[number % colors.length];
    const dash = style.dashes[Math.floor(number / colors.length) % style.dashes.length];
    return {
      ...trace,
      line: { dash, ...trace.line, color },
      marker: { ...trace.marker, color },
    };
  });
  const axis = { gridcolor: faint, zerolinecolor: faint, linecolor: faint, color: ink };
  const narrow = width < 560;
  const bars = figure.data.length > 0 && figure.data[0].type === "bar";
  const lines = figure.data.flatMap((trace) => trace.name.split("<br>").map((line) => line.length));
  const below = narrow || bars || 8 * Math.max(0, ...lines) + 60 > 0.35 * width;
  const layout = {
    ...figure.layout,
    height: figure.layout.height + (below && !bars ? (narrow ? 16 : 12) * lines.length + 20 : 0),
    xaxis: { ...figure.layout.xaxis, ...axis },
    yaxis: { ...figure.layout.yaxis, ...axis },
    shapes: figure.layout.shapes.map((shape) => ({ ...shape, line: { ...shape.line, color: ink } })),
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: "system-ui, sans-serif", size: narrow ? 11 : 13 },
    legend: below ? { orientation: "h", traceorder: "normal", y: bars ? 1.02 : -0.22, yanchor: bars ? "bottom" : "top", x: 0 } : {},
    hoverlabel: { namelength: -1 },
    margin: { l: 60, r: 12, t: bars ? 44 : 12, b: 48 },
    showlegend: true,
  };
  return { data, layout };
}

function draw(place) {
  const { data, layout } = themed(figures[place.dataset.figure], place.clientWidth);
  return Plotly.react(place, data, layout, config);
}

const places = [...document.querySelectorAll(".plot")];
const drawAll = () => Promise.all(places.map(draw));
drawAll().then(() => document.documentElement.setAttribute("data-drawn", "yes"));
night.addEventListener("change", drawAll);

const choice = document.getElementById("gap-choice");
choice.addEventListener("change", () => {
  const place = document.getElementById("gap-plot");
  place.dataset.figure = choice.value;
  document.getElementById("gap-caption").textContent = choice.selectedOptions[0].dataset.caption;
  draw(place);
});

// Tables. A click on a heading sorts by it, a second one the other way round; what has no value stays last.
function value(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text);
  return text === "" || text === "None" || text === "–" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortBy(table, column) {
  const heading = table.tHead.rows[0].cells[column];
  const way = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
  rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : way * compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const first = table.tBodies[0].rows[0];
    cell.classList.toggle("num", Boolean(first) && first.cells[column].classList.contains("num"));
    cell.addEventListener("click", () => sortBy(table, column));
  });
}

// Search: a row stays if every word is in it.
const search = document.getElementById("search");
const searched = [...document.getElementById("table").tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const [row, text] of searched) {
    row.hidden = !words.every((word) => text.includes(word));
    found += !row.hidden;
  }
  document.getElementById("found").textContent = `${found} of ${searched.length} rows`;
});
