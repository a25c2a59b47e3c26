"use strict";
// The table of runs: sort, filter, show one run, compare several. The page contains the data.
const runs = JSON.parse(document.getElementById("data").textContent);
const FIRST = ["nll_nats", "elbo", "kl", "mi_lower", "active_units_0.01", "svm_linear_accuracy", "mlp_accuracy"];
const ABOUT = ["id", "seed", "tier", "state"];
const measured = [...new Set(runs.flatMap((run) => Object.keys(run.numbers)))].sort();
const shown = { sort: "id", down: false, open: new Set(), chosen: new Set() };
const byId = (id) => document.getElementById(id);

function make(tag, content = [], attributes = {}) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...[content].flat());
  return node;
}

function digits(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6 ? value.toExponential(2) : value.toFixed(Math.abs(value) < 10 ? 4 : 2);
}

function number(run, name) {
  const entry = run.numbers[name];
  if (!entry) return "";
  return entry[1] === null ? digits(entry[0]) : `${digits(entry[0])} ± ${digits(entry[1])}`;
}

const key = (run, column) => (column in run ? run[column] : run.numbers[column]?.[0]);

function compare(a, b) {
  const [x, y] = [key(a, shown.sort), key(b, shown.sort)];
  if (x === y) return a.id < b.id ? -1 : 1;
  if (x === undefined || x === null) return 1; // missing values come last in both orders
  if (y === undefined || y === null) return -1;
  const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
  return shown.down ? -order : order;
}

// A word matches anywhere in the text, but seed1 does not match seed10.
function occurs(word, text) {
  if (!/seed\d+$/.test(word)) return text.includes(word);
  return text.split(word).slice(1).some((rest) => !/^\d/.test(rest));
}

function matchesFilter(run) {
  const text = [run.id, run.tier, run.state, run.note, ...run.rows].join(" ").toLowerCase();
  const words = byId("filter").value.toLowerCase().split(/\s+/);
  return words.every((word) => occurs(word, text))
    && (!byId("state").value || run.state === byId("state").value)
    && (!byId("tier").value || run.tier === byId("tier").value);
}

const columns = () => [...byId("columns").selectedOptions].map((option) => option.value);

function drawTable() {
  const shownColumns = [...ABOUT, ...columns()];
  const head = shownColumns.map((column) => {
    const title = column === "id" ? "run" : column;
    const mark = shown.sort === column ? (shown.down ? " ↓" : " ↑") : "";
    const button = make("button", title + mark, { type: "button", "data-column": column });
    button.onclick = () => {
      shown.down = shown.sort === column && !shown.down;
      shown.sort = column;
      drawTable();
    };
    const order = shown.sort === column ? (shown.down ? "descending" : "ascending") : "none";
    return make("th", button, { "aria-sort": order });
  });
  byId("table").tHead.replaceChildren(make("tr", [make("th", "compare"), ...head]));
  const matches = runs.filter(matchesFilter).sort(compare);
  byId("table").tBodies[0].replaceChildren(...matches.flatMap((run) => rowsOf(run, shownColumns)));
  byId("count").textContent = `${matches.length} of ${runs.length} runs`;
}

function rowsOf(run, shownColumns) {
  const tick = make("input", [], { type: "checkbox", "aria-label": `compare ${run.id}` });
  tick.checked = shown.chosen.has(run.id);
  tick.onchange = () => {
    tick.checked ? shown.chosen.add(run.id) : shown.chosen.delete(run.id);
    drawSide();
  };
  const name = make("button", run.id, { type: "button" });
  name.onclick = () => {
    shown.open.has(run.id) ? shown.open.delete(run.id) : shown.open.add(run.id);
    drawTable();
  };
  const cells = shownColumns.map((column) => {
    if (column === "id") return make("td", [name, make("div", run.rows[0] ?? "", { class: "dim" })]);
    if (column === "state") return make("td", make("span", run.state, { class: `chip ${run.state}`, title: run.note }));
    return make("td", column in run ? digits(run[column]) : number(run, column));
  });
  const row = make("tr", [make("td", tick), ...cells], { "data-run": run.id });
  if (!shown.open.has(run.id)) return [row];
  return [row, make("tr", make("td", inside(run), { colspan: shownColumns.length + 1 }))];
}

function pairs(entries) {
  return make("div", make("table", make("tbody", entries.map(([name, value]) =>
    make("tr", [make("th", name), make("td", value)])))), { class: "wide" });
}

function folded(title, content, open = false) {
  const details = make("details", [make("summary", title), content]);
  details.open = open;
  return details;
}

function inside(run) {
  const parts = [];
  if (run.note) parts.push(make("p", run.note));
  if (run.rows.length) parts.push(make("p", `In ${run.rows.join("; ")}.`));
  const numbers = Object.entries(run.numbers).map(([name, [, , unit, n]]) => [name, `${number(run, name)} ${unit}, n = ${n}`]);
  parts.push(folded("Numbers", pairs(numbers), true));
  const curves = ["elbo", "kl", "active_units"].map((name) => curve(run, name)).filter(Boolean);
  const pictures = Object.entries(run.pictures).map(([name, source]) => make("figure", [
    source.startsWith("data:") ? make("img", [], { src: source, alt: name }) : make("code", source),
    make("figcaption", name)]));
  if (curves.length) parts.push(folded("Curves", make("div", curves, { class: "cards" }), true));
  if (pictures.length) parts.push(folded("Figures", make("div", pictures, { class: "cards" }), true));
  parts.push(folded("Settings", pairs(Object.entries(run.settings).map(([name, value]) => [name, digits(value)]))));
  parts.push(folded("Training", pairs(Object.entries(run.training).map(([name, value]) => [name, digits(value)]))));
  const attempts = run.attempts.map((attempt) => make("div", [make("pre", attempt.command),
    make("p", `${attempt.time}, commit ${attempt.commit}, PyTorch ${attempt.torch}, ${attempt.hardware}${attempt.precision && `, matrix products ${attempt.precision}`}`, { class: "dim" })]));
  parts.push(folded("Commands and provenance", make("div", [...attempts, make("p", run.path, { class: "dim" })])));
  return make("div", parts, { class: "inside" });
}

function curve(run, name) {
  const lines = ["train", "valid"].map((split) => [split, run.curves[`${split} ${name}`]]).filter(([, line]) => line);
  const points = lines.flatMap(([, line]) => line).filter(([, y]) => y !== null);
  if (!points.length) return null;
  const [width, height, edge] = [300, 150, 34];
  const range = (values) => [Math.min(...values), Math.max(...values)];
  const [x0, x1] = range(points.map(([x]) => x));
  const sorted = points.map(([, y]) => y).sort((a, b) => a - b);
  // Without the lowest 5 %, since the first epochs would flatten the rest of the curve.
  const y0 = name === "elbo" ? sorted[Math.floor(sorted.length / 20)] : sorted[0];
  const y1 = sorted[sorted.length - 1];
  const x = (value) => edge + (value - x0) / (x1 - x0 || 1) * (width - edge - 8);
  const y = (value) => height - 18 - (Math.max(value, y0) - y0) / (y1 - y0 || 1) * (height - 32);
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const put = (tag, attributes, text = "") => {
    const node = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.textContent = text;
    svg.append(node);
  };
  const colours = { train: "#c8553d", valid: "#4a86c0" };
  lines.forEach(([split, line], i) => {
    const path = line.filter(([, v]) => v !== null).map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
    if (line.length === 1) put("circle", { cx: x(line[0][0]), cy: y(line[0][1]), r: 2, fill: colours[split] });
    put("polyline", { points: path, fill: "none", stroke: colours[split], "stroke-width": 1.5 });
    put("text", { x: width - 60, y: height - 24 - 12 * i, style: `fill: ${colours[split]}` }, split);
  });
  put("text", { x: 2, y: 14 }, digits(y1));
  put("text", { x: 2, y: height - 20 }, digits(y0));
  put("text", { x: edge, y: height - 4 }, `epoch ${x0}`);
  put("text", { x: width - 40, y: height - 4 }, String(x1));
  return make("figure", [svg, make("figcaption", name)]);
}

function drawSide() {
  const chosen = [...shown.chosen].map((id) => runs.find((run) => run.id === id)); // in the order in which they were ticked
  byId("hint").hidden = chosen.length > 0;
  const line = (name, values, mark = false) => make("tr", [make("th", name), ...values.map((value) => make("td", value))],
    mark ? { class: "different" } : {});
  const body = [];
  if (chosen.length) {
    body.push(make("tr", [make("th", "run"), ...chosen.map((run) => make("th", run.id))]));
    body.push(line("state", chosen.map((run) => run.state)), line("tier", chosen.map((run) => run.tier)));
    for (const name of measured.filter((name) => chosen.some((run) => run.numbers[name]))) {
      body.push(line(name, chosen.map((run, i) => {
        const base = chosen[0].numbers[name], own = run.numbers[name];
        const change = i && base && own ? ` (${own[0] >= base[0] ? "+" : ""}${digits(own[0] - base[0])})` : "";
        return number(run, name) + change;
      })));
    }
    const settings = [...new Set(chosen.flatMap((run) => Object.keys(run.settings)))];
    for (const name of settings) {
      const values = chosen.map((run) => (name in run.settings ? JSON.stringify(run.settings[name]) : ""));
      if (new Set(values).size > 1) body.push(line(name, values.map((value) => value.replace(/^"|"$/g, "")), true));
    }
  }
  byId("side").tBodies[0].replaceChildren(...body);
}

for (const [id, name] of [["state", "state"], ["tier", "tier"]]) {
  byId(id).append(...[...new Set(runs.map((run) => run[name]))].sort().map((value) => make("option", value)));
  byId(id).onchange = drawTable;
}
byId("columns").append(...measured.map((name) => {
  const option = make("option", name);
  option.selected = FIRST.includes(name);
  return option;
}));
byId("columns").onchange = drawTable;
byId("filter").oninput = drawTable;
drawTable();
