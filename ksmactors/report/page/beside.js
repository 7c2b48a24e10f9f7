/* Two schedules beside each other: lanes on one axis, the common beginning, the first event that differs. */

const BESIDE_HEIGHT = 30, NEAR = 40, AROUND = 14;
const beside = { other: -1, low: 0, high: 1, step: null, rows: [] };

/* The schedule that is shown below at first: the other one of a comparison, else that of the next finding, else the same
   finding as recorded or shrunk, else the next schedule. */
function besideAtFirst() {
  const findings = DATA.findings || [], here = state.run.number;
  if (DATA.comparison) return DATA.comparison.other;
  const ends = findings.map((one) => (one.shrunk ? one.shrunk.run : one.run)), forms = findings.flatMap((one) => [one.run, ...(one.shrunk ? [one.shrunk.run] : [])]);
  const wanted = [...(findings.length > 1 ? ends : forms), ...RUNS.keys()].find((number) => number !== here && number >= 0 && RUNS[number].kind.length);
  return wanted ?? here;
}

/* Whether two events are the same; what `run.start` says was set does not count. `loose`: nor who won a race. */
function isSame(one, i, other, j, loose) {
  if (one.kind[i] !== other.kind[j] || one.actor[i] !== other.actor[j] || one.step[i] !== other.step[j] || one.time[i] !== other.time[j]) return false;
  const { name, fields } = DATA.kinds[one.kind[i]], race = loose && name.startsWith("race.");
  if (name === "run.start") return true;
  return fields.every((field, place) => (race && (field === "winner" || field === "object")) || one.raw.values[one.offset[i] + place] === other.raw.values[other.offset[j] + place]);
}

/* The first event of each schedule that differs, its length where it has ended, and how many events before are the same.
   Detail that only one of them has is passed over. */
function firstDifference(one, other) {
  lanesOf(one); lanesOf(other);
  const loose = one.detail !== other.detail;
  const next = (run, i) => { while (loose && i < run.count && DATA.kinds[run.kind[i]].detail) i++; return i; };
  let i = next(one, 0), j = next(other, 0), common = 0;
  while (i < one.count && j < other.count && isSame(one, i, other, j, loose)) { common++; i = next(one, i + 1); j = next(other, j + 1); }
  return { i, j, common, none: i >= one.count && j >= other.count, loose };
}

function drawBeside(run) {
  if (RUNS.length < 2) { replace("beside-said", h("p", { class: "quiet" }, "There is one schedule only.")); return; }
  if (beside.other < 0 || beside.other >= RUNS.length) beside.other = besideAtFirst();
  const other = runOf(beside.other);
  document.getElementById("beside-other").value = String(beside.other);
  beside.difference = firstDifference(run, other);
  const end = Math.max(xEnd(run), xEnd(other));
  if (!(beside.high > beside.low) || beside.high > end || beside.key !== `${run.number} ${other.number} ${axisIsTime()}`) { beside.low = 0; beside.high = end; beside.step = null; }
  Object.assign(beside, { key: `${run.number} ${other.number} ${axisIsTime()}`, end, rows: besideRows(run, other) });
  const element = document.getElementById("chart-beside"), one = chart("chart-beside");
  element.style.height = `${beside.rows.length * BESIDE_HEIGHT + 76}px`;
  one.resize();
  one.setOption({
    ...base(), grid: { left: 190, right: 18, top: 8, bottom: 62 },
    xAxis: { type: "value", min: 0, max: end, name: axisIsTime() ? "ms" : "step", nameLocation: "middle", nameGap: 22, ...axisStyle(), axisLabel: { color: colour("quiet"), showMaxLabel: false, hideOverlap: true } },
    yAxis: { type: "category", inverse: true, data: beside.rows.map((row, place) => String(place)), ...axisStyle(), axisTick: { show: false }, axisLabel: { interval: 0, color: colour("fore"), width: 178, overflow: "truncate", formatter: (value) => besideLabel(Number(value)) } },
    dataZoom: [
      { type: "inside", filterMode: "none", startValue: beside.low, endValue: beside.high, minValueSpan: axisIsTime() ? 0.001 : 2 },
      { type: "slider", filterMode: "none", startValue: beside.low, endValue: beside.high, height: 18, bottom: 8, showDetail: false, showDataShadow: false, brushSelect: false, borderColor: colour("line"), minValueSpan: axisIsTime() ? 0.001 : 2 },
    ],
    series: [],
  }, true);
  refreshBeside();
  sayDifference(run, other);
  listBeside();
  countBeside(run, other);
}

/* Rows: the actors of both schedules, by node and in the same order above and below; a row between them is empty. */
function besideRows(run, other) {
  const actors = [...new Set([...run.lanes, ...other.lanes].map((lane) => lane.actor))].sort((a, b) => DATA.actors[a][1] - DATA.actors[b][1]).slice(0, LANES_SHOWN);
  const half = (one, which) => actors.map((actor) => ({ which, run: one, name: DATA.actors[actor][0], node: DATA.actors[actor][1], lane: one.laneOfActor.get(actor) }));
  return [...half(run, "above"), null, ...half(other, "below")];
}

function besideLabel(place) {
  const row = beside.rows[place], before = beside.rows[place - 1];
  if (!row) return "";
  const name = row.lane ? row.name : `(${row.name})`;
  return !before || before.node !== row.node ? `${row.which}, node ${row.node} \u00b7 ${name}` : name;
}

function halves() {
  const size = (beside.rows.length - 1) / 2;
  return [[0, size, beside.rows[0].run, beside.difference.i], [size + 1, size, beside.rows.at(-1).run, beside.difference.j]];
}

/* Where a schedule parts from the other one: its first event that differs, or its end. */
function partsAt(run, i) { return i < run.count ? xOf(run, i) : xEnd(run); }

function refreshBeside() {
  const one = chart("chart-beside"), pixel = (beside.high - beside.low) / Math.max(200, one.getWidth() - 208);
  const bars = [], marks = [], arrows = [], lines = [];
  const parts = Math.min(...halves().map(([, , run, i]) => partsAt(run, i)));
  for (const [top, size, run, i] of halves()) {
    const place = new Map(beside.rows.slice(top, top + size).flatMap((row, at) => (row.lane ? [[row.lane, top + at]] : [])));
    for (let at = top; at < top + size; at++) bars.push({ value: [at, 0, beside.difference.none ? beside.end : parts, 0], type: "common" });
    const all = run.everything || (run.everything = new Uint8Array(run.count).fill(1));
    const shapes = shapesIn(run, place, beside, pixel, all, false);
    bars.push(...shapes.bars);
    marks.push(...shapes.marks);
    arrows.push(...shapes.arrows.filter((arrow) => arrow.type === "lock").slice(0, ARROWS_MAX));
    if (!beside.difference.none) lines.push({ value: [top, partsAt(run, i), top + size - 1], text: i < run.count ? "first difference" : "has ended", strong: true });
    if (beside.step !== null) lines.push({ value: [top, xOf(run, run.at(beside.step)), top + size - 1], text: "", strong: false });
  }
  one.setOption({
    series: [
      { id: "bars", type: "custom", renderItem: (params, api) => drawBar(bars[params.dataIndex], params, api), data: bars.map(valueOf), encode: { x: [1, 2], y: 0 }, clip: true },
      { id: "arrows", type: "custom", renderItem: (params, api) => drawArrow(arrows[params.dataIndex], api), data: arrows.map(valueOf), silent: true, clip: true, encode: { x: [1, 3], y: 0 } },
      { id: "marks", type: "custom", renderItem: (params, api) => drawMark(marks[params.dataIndex], api), data: marks.map(valueOf), encode: { x: 1, y: 0 }, clip: true },
      { id: "lines", type: "custom", silent: true, z: 10, renderItem: (params, api) => drawParting(lines[params.dataIndex], params, api), data: lines.map(valueOf), encode: { x: 1, y: [0, 2] } },
    ],
  });
  document.getElementById("chart-beside").dataset.drawn = JSON.stringify({ bars: bars.length, marks: marks.length, low: beside.low, high: beside.high, common: beside.difference.common, parts, rows: beside.rows.length });
}

/* A line across one half. */
function drawParting(one, params, api) {
  if (!one) return null;
  const [top, x, last] = one.value, band = api.size([0, 1])[1], a = api.coord([x, top]), b = api.coord([x, last]), area = params.coordSys;
  if (a[0] < area.x || a[0] > area.x + area.width) return null;
  const stroke = one.strong ? colour("bad") : colour("quiet"), right = a[0] > area.x + area.width - 120;
  return { type: "group", children: [
    { type: "line", shape: { x1: a[0], y1: a[1] - band / 2, x2: a[0], y2: b[1] + band / 2 }, style: { stroke, lineWidth: one.strong ? 2.5 : 1, lineDash: one.strong ? "solid" : [3, 3] } },
    ...(one.text ? [{ type: "text", style: { text: one.text, x: a[0] + (right ? -5 : 5), y: b[1] + band / 2 - 2, align: right ? "right" : "left", verticalAlign: "bottom", fill: stroke, fontSize: 11, fontWeight: 700, backgroundColor: colour("back"), padding: [1, 3] } }] : []),
  ] };
}

function goTo(run, i) {
  if (state.run !== run) choose(run.number);
  state.moment = i;
  show("timeline");
}

function sayDifference(run, other) {
  const { i, j, common, none, loose } = beside.difference, count = (n) => quantity(n, "event");
  const side = (which, one, at) => h("p", {}, h("b", {}, `${which}: `),
    at < one.count ? h("button", { type: "button", title: "to this moment of the timeline", onclick: () => goTo(one, at) }, `step ${one.step[at]}`) : "has ended",
    at < one.count ? ` ${described(one, at)}` : "");
  const settings = ((DATA.comparison || {}).settings || []).map((one) => `${one.what} ${one.one} / ${one.other}`);
  replace("beside-said", h("div", { class: none ? "verdict" : "verdict bad" },
    h("p", { class: "signature" }, none ? "The schedules have the same events" : common ? `The same for ${count(common)}, then they part` : "They differ from the first event on"),
    settings.length ? h("p", {}, h("b", {}, "set differently: "), settings.join("; ")) : null,
    loose ? h("p", { class: "quiet" }, "Only one of them has events of detail: these are passed over.") : null,
    none ? null : [side("above", run, i), side("below", other, j)]));
}

/* Events around the first difference, or around the step that was clicked, of both. */
function listBeside() {
  const { i, j } = beside.difference;
  [["beside-one", halves()[0][2], i], ["beside-two", halves()[1][2], j]].forEach(([id, run, parting]) => {
    const here = beside.step === null ? Math.min(parting, run.count - 1) : run.at(beside.step), rows = [];
    for (let at = Math.max(0, here - AROUND); at < Math.min(run.count, here + AROUND + 1); at++) rows.push(eventRow(run, at, at === (beside.step === null ? parting : here), () => goTo(run, at)));
    const list = replace(id, h("h2", {}, run.title), rows), row = list.querySelector(".here");
    if (row) list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 2;
  });
}

function countBeside(run, other) {
  const made = DATA.comparison, by = (one) => { const counts = new Map([["steps", one.lastStep]]); for (let i = 0; i < one.count; i++) counts.set(one.name(i), (counts.get(one.name(i)) || 0) + 1); return counts; };
  if (made) {
    const rows = [...made.counts].sort((a, b) => (a.p ?? 2) - (b.p ?? 2) || (a.what < b.what ? -1 : 1));
    replace("beside-counts", h("h2", {}, "Counts a schedule"),
      h("p", { class: "quiet" }, `${made.schedules[0]} against ${quantity(made.schedules[1], "schedule")}, ${made.schedules[0] + made.schedules[1] === 2 ? "too few to call a difference significant" : made.paired ? "each with the one of its seed (sign test)" : "all of one side with all of the other (Mann-Whitney)"}; corrected for the number of counters (Holm)`),
      table(["what", "first", "second", "p", "significant"], rows.map((one) => [one.what, one.one, one.other, one.p === null ? "-" : one.p >= 0.0001 ? one.p.toFixed(4) : "< 0.0001", one.differs ? "yes" : ""]), "every count is the same"));
    return;
  }
  const left = by(run), right = by(other), names = [...new Set([...left.keys(), ...right.keys()])].sort();
  const rows = names.map((name) => [name, left.get(name) || 0, right.get(name) || 0]).filter((row) => row[1] !== row[2]);
  replace("beside-counts", h("h2", {}, "Counts that differ"), table(["what", "above", "below"], rows, "every count is the same"));
}

/* -- moving about ------------------------------------------------------------------------------------------------- */

function zoomBeside(low, high) {
  const span = Math.max(axisIsTime() ? 0.001 : 2, Math.min(high - low, beside.end)), from = Math.max(0, Math.min(low, beside.end - span));
  chart("chart-beside").dispatchAction({ type: "dataZoom", startValue: from, endValue: from + span });
}

function zoomBesideBy(factor) {
  const centre = (beside.low + beside.high) / 2, span = (beside.high - beside.low) * factor;
  zoomBeside(centre - span / 2, centre + span / 2);
}

function toDifference() {
  const parts = Math.min(...halves().map(([, , run, i]) => partsAt(run, i))), span = axisIsTime() ? beside.end / 20 : 2 * NEAR;
  beside.step = null;
  zoomBeside(parts - span / 2, parts + span / 2);
  listBeside();
}

function besideClicked(event) {
  const one = chart("chart-beside"), where = [event.offsetX, event.offsetY];
  if (!one.containPixel("grid", where)) return;
  const [x, at] = one.convertFromPixel({ gridIndex: 0 }, where), row = beside.rows[Math.round(at)];
  if (!row) return;
  beside.step = axisIsTime() ? row.run.step[Math.max(0, upper(row.run.time, x * 1e6) - 1)] : x;
  refreshBeside();
  listBeside();
}

const BESIDE_KEYS = {
  ArrowLeft: () => zoomBeside(beside.low - (beside.high - beside.low) / 4, beside.high - (beside.high - beside.low) / 4),
  ArrowRight: () => zoomBeside(beside.low + (beside.high - beside.low) / 4, beside.high + (beside.high - beside.low) / 4),
  "+": () => zoomBesideBy(0.5), "=": () => zoomBesideBy(0.5), "-": () => zoomBesideBy(2), 0: () => zoomBeside(0, beside.end), d: toDifference,
};

function startBeside() {
  const pick = replace("beside-other", RUNS.map((raw, number) => h("option", { value: String(number) }, titleOf(raw))));
  pick.addEventListener("change", () => { beside.other = Number(pick.value); drawBeside(state.run); remember(); });
  const one = chart("chart-beside");
  one.on("datazoom", () => {
    const zoom = one.getOption().dataZoom[0];
    beside.low = zoom.startValue;
    beside.high = zoom.endValue;
    refreshBeside();
  });
  one.getZr().on("click", besideClicked);
  document.getElementById("beside-in").addEventListener("click", () => zoomBesideBy(0.5));
  document.getElementById("beside-out").addEventListener("click", () => zoomBesideBy(2));
  document.getElementById("beside-fit").addEventListener("click", () => zoomBeside(0, beside.end));
  document.getElementById("beside-first").addEventListener("click", toDifference);
}
