/* What all views share: elements made without markup, colours that colour-blind readers can tell apart, bars. */

/* A number with its noun: "1 schedule", "1,000 schedules". */
function quantity(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/* Okabe and Ito. Nodes, then what else is told apart by colour; shapes and hatching tell the same. */
const NODE_COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00"];
const COLOUR = { turn: "#0072b2", hold: "#e69f00", shared: "#f0c75e", race: "#cc79a7", fault: "#d55e00", finding: "#d55e00", info: "#7f8c99", move: "#009e73", lock: "#e69f00", wake: "#56b4e9", mail: "#009e73", way: "#cc79a7" };

function nodeColour(node) { return node >= 0 ? NODE_COLOURS[node % NODE_COLOURS.length] : "#b8c0c8"; }

function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  fill(element, properties, children);
  return element;
}

function s(tag, properties, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, properties, children);
  return element;
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== "") element.append(child);
}

function replace(id, ...children) {
  const element = typeof id === "string" ? document.getElementById(id) : id;
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function table(head, rows, empty) {
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  const kind = (value) => (typeof value === "number" ? { class: "number" } : {});
  return h("table", {},
    h("thead", {}, h("tr", {}, head.map((text, place) => h("th", kind(rows[0][place]), text)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((value) => h("td", kind(value), typeof value === "number" ? value.toLocaleString("en") : value))))));
}

function milliseconds(ns) { return `${(ns / 1e6).toFixed(3)} ms`; }

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

const charts = new Map();

function chart(id) {
  let one = charts.get(id);
  if (!one) {
    one = echarts.init(document.getElementById(id), null, { renderer: "canvas" });
    charts.set(id, one);
  }
  return one;
}

function axisStyle() {
  return {
    axisLabel: { color: colour("quiet") }, axisLine: { lineStyle: { color: colour("line") } },
    splitLine: { lineStyle: { color: colour("line") } }, axisTick: { lineStyle: { color: colour("line") } },
    nameTextStyle: { color: colour("quiet") },
  };
}

function base() {
  return { animation: false, textStyle: { color: colour("fore"), fontSize: 12 }, aria: { enabled: false } };
}

function nothing(id, text) {
  const one = chart(id);
  one.clear();
  one.setOption({ ...base(), title: { text, left: "center", top: "middle", textStyle: { color: colour("quiet"), fontSize: 12, fontWeight: "normal" } } });
}

let hatchPattern = null;

/* Hatching, for what waits: told apart by more than colour. */
function hatch() {
  if (hatchPattern && hatchPattern.of === colour("quiet")) return hatchPattern;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 6;
  const pen = canvas.getContext("2d");
  pen.strokeStyle = colour("quiet");
  pen.lineWidth = 1;
  pen.beginPath();
  for (const shift of [-6, 0, 6]) { pen.moveTo(shift, 6); pen.lineTo(shift + 6, 0); }
  pen.stroke();
  hatchPattern = { image: canvas, repeat: "repeat", of: colour("quiet") };
  return hatchPattern;
}

/* Bars of a sorted list that are in view, those that are less than a pixel apart as one. */
function barsInView(bars, x0, x1, low, high, pixel, emit) {
  let start = 0, end = bars.length;
  while (start < end) {
    const middle = (start + end) >> 1;
    if (x0(bars[middle]) < low) start = middle + 1; else end = middle;
  }
  start = Math.max(0, start - 20);  /* one that began before may reach into view; nesting is not deep */
  let first = null, from = 0, to = 0, count = 0;
  for (let i = start; i < bars.length && x0(bars[i]) <= high; i++) {
    const one = bars[i], a = x0(one), b = x1(one);
    if (b < low) continue;
    if (first && a - to < pixel && (b - a < pixel || to - from < pixel)) { to = Math.max(to, b); count++; continue; }
    if (first) emit(first, from, to, count);
    first = one; from = a; to = b; count = 1;
  }
  if (first) emit(first, from, to, count);
}

/* Leave out labels under which another bar of the same strip begins, as that of a lock that is taken inside. */
function clearLabels(bars, pixel) {
  for (let n = 1; n < bars.length; n++) {
    const before = bars[n - 1], next = bars[n], together = before.type === next.type && before.value[0] === next.value[0];
    if (together && next.type !== "turn" && next.type !== "stripe" && next.value[1] - before.value[1] < (before.text.length * 5.2 + 8) * pixel) before.text = "";
  }
}

/* ECharts copies its data deeply, so it gets numbers alone; what else a shape needs is looked up by place. */
function valueOf(one) { return one.value; }
