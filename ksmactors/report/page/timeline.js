/* The timeline. What is drawn follows the window: some thousand shapes, whatever the number of events. */

const LANE_HEIGHT = 38, MARKS_MAX = 4000, ARROWS_MAX = 400;
const filter = { page: null, tree: "", event: "", text: "", active: false };
const view = { low: 0, high: 1 };

function axisIsTime() { return document.getElementById("axis").value === "time"; }
function xOf(run, i) { return axisIsTime() ? run.time[i] / 1e6 : run.step[i]; }
function xEnd(run) { return axisIsTime() ? run.lastTime / 1e6 : run.lastStep; }
function x0(one) { return axisIsTime() ? one.t0 / 1e6 : one.s0; }
function x1(one) { return axisIsTime() ? one.t1 / 1e6 : one.s1; }

function shownLanes(run) { return lanesOf(run).filter((lane) => !lane.hidden); }

/* Which events the filters let through, worked out once for each change of a filter. */
function matchAll(run) {
  const key = JSON.stringify([filter.page, filter.tree, filter.event, filter.text, lanesOf(run).map((lane) => lane.hidden)]);
  if (run.matchKey === key) return run.match;
  filter.active = filter.page !== null || Boolean(filter.tree || filter.event || filter.text);
  const hidden = new Set(run.lanes.filter((lane) => lane.hidden).map((lane) => lane.actor));
  const kinds = DATA.kinds.map((kind) => !filter.event || kind.name === filter.event || (filter.event.endsWith("*") && kind.name.startsWith(filter.event.slice(0, -1))));
  const match = new Uint8Array(run.count);
  let matches = 0;
  for (let i = 0; i < run.count; i++) {
    if (!kinds[run.kind[i]] || hidden.has(run.actor[i])) continue;
    if (filter.page !== null && !run.pages(i).includes(filter.page)) continue;
    if (filter.tree && !isOfTree(run, i)) continue;
    if (filter.text && !described(run, i).toLowerCase().includes(filter.text)) continue;
    match[i] = 1;
    matches++;
  }
  Object.assign(run, { match, matches, matchKey: key });
  return match;
}

function isOfTree(run, i) {
  const [tree, nid] = filter.tree.split(" ");
  if (run.get(i, "tree_nid") !== Number(nid)) return false;
  const own = run.get(i, "tree") ?? (run.name(i).startsWith("unstable") ? "unstable" : "stable");
  return own === tree;
}

function described(run, i) {
  return `${run.actorName(i)} ${run.name(i)} ${run.fields(i).map(([name, value]) => `${name}=${value}`).join(" ")}`;
}

function drawTimeline(run) {
  const lanes = shownLanes(run), element = document.getElementById("chart-timeline");
  element.style.height = `${Math.max(3, lanes.length) * LANE_HEIGHT + 92}px`;
  const one = chart("chart-timeline");
  one.resize();
  view.low = Math.max(0, Math.min(view.low, xEnd(run)));
  view.high = Math.min(view.high, xEnd(run));
  if (!(view.high > view.low)) { view.low = 0; view.high = xEnd(run); }
  one.setOption({
    ...base(), grid: { left: 150, right: 18, top: 8, bottom: 66 },
    xAxis: { type: "value", min: 0, max: xEnd(run), name: axisIsTime() ? "ms" : "step", nameLocation: "middle", nameGap: 22, ...axisStyle(), axisLabel: { color: colour("quiet"), showMaxLabel: false, hideOverlap: true } },
    yAxis: {
      type: "category", inverse: true, data: lanes.map((lane, place) => String(place)), ...axisStyle(), axisTick: { show: false },
      axisLabel: { interval: 0, color: colour("fore"), width: 138, overflow: "truncate", formatter: (value) => laneLabel(lanes, Number(value)) },
    },
    dataZoom: [
      { type: "inside", filterMode: "none", startValue: view.low, endValue: view.high, minValueSpan: axisIsTime() ? 0.001 : 2 },
      { type: "slider", filterMode: "none", startValue: view.low, endValue: view.high, height: 20, bottom: 10, showDetail: false, showDataShadow: false, brushSelect: false, borderColor: colour("line"), minValueSpan: axisIsTime() ? 0.001 : 2 },
    ],
    series: [],
  }, true);
  refresh(run);
  drawLanes(run);
}

function laneLabel(lanes, place) {
  const lane = lanes[place];
  if (!lane) return "";
  return place === 0 || lanes[place - 1].node !== lane.node ? `node ${lane.node} \u00b7 ${lane.name}` : lane.name;
}

/* Draw what is in the window again. */
function refresh(run) {
  const lanes = shownLanes(run), place = new Map(lanes.map((lane, at) => [lane, at])), match = matchAll(run);
  const width = Math.max(200, chart("chart-timeline").getWidth() - 168), pixel = (view.high - view.low) / width;
  const { bars, marks, arrows } = shapesIn(run, place, view, pixel, match, filter.active);
  const shown = arrows.length > ARROWS_MAX ? arrows.filter((arrow) => arrow.type === "lock").slice(0, ARROWS_MAX) : arrows;
  if (filter.page !== null) shown.push(...wayOfPage(run, place, match));
  const cursor = state.moment === null ? [] : [{ value: [0, xOf(run, state.moment)] }];
  chart("chart-timeline").setOption({
    series: [
      { id: "bars", type: "custom", renderItem: (params, api) => drawBar(bars[params.dataIndex], params, api), data: bars.map(valueOf), encode: { x: [1, 2], y: 0 }, clip: true },
      { id: "arrows", type: "custom", renderItem: (params, api) => drawArrow(shown[params.dataIndex], api), data: shown.map(valueOf), silent: true, clip: true, encode: { x: [1, 3], y: 0 } },
      { id: "marks", type: "custom", renderItem: (params, api) => drawMark(marks[params.dataIndex], api), data: marks.map(valueOf), encode: { x: 1, y: 0 }, clip: true },
      { id: "cursor", type: "custom", silent: true, z: 10, renderItem: drawCursor, data: cursor, encode: { x: 1, y: 0 }, clip: true },
    ],
  });
  replace("matches", filter.active || lanes.length < run.lanes.length ? `${run.matches.toLocaleString("en")} of ${quantity(run.count, "event")}` : quantity(run.count, "event"));
  document.getElementById("chart-timeline").dataset.drawn = JSON.stringify({ bars: bars.length, marks: marks.length, arrows: shown.length, low: view.low, high: view.high });
}

/* Bars, marks and arrows of a schedule in a window; `place` has the row of each lane. */
function shapesIn(run, place, view, pixel, match, filtered) {
  const bars = [], marks = [], arrows = [];
  for (const [lane, at] of place) {
    if (lane.node % 2) bars.push({ value: [at, view.low, view.high, 0], type: "stripe" });
    for (const [type, list] of [["turn", lane.turns], ["hold", lane.holds], ["wait", lane.waits]]) {
      barsInView(list, x0, x1, view.low, view.high, pixel, (first, from, to, count) => bars.push({ value: [at, from, to, first.from], type, count, text: first.text, bar: first, run, opacity: filtered ? 0.4 : 1 }));
    }
  }
  clearLabels(bars, pixel);
  marksInView(run, place, view, match, filtered, pixel, marks);
  for (const arrow of run.arrows) {
    const a = xOf(run, arrow.from), b = xOf(run, arrow.to);
    if (b < view.low || a > view.high || !place.has(arrow.laneFrom) || !place.has(arrow.laneTo)) continue;
    if (filtered && !match[arrow.from] && !match[arrow.to]) continue;
    arrows.push({ value: [place.get(arrow.laneFrom), a, place.get(arrow.laneTo), b, arrow.to], type: arrow.kind });
  }
  return { bars, marks, arrows };
}

/* One mark for each few pixels of a lane: the one of the highest rank. */
function marksInView(run, place, view, match, filtered, pixel, marks) {
  const best = new Map(), axis = axisIsTime() ? run.time : run.step, scale = axisIsTime() ? 1e6 : 1;
  const end = upper(axis, view.high * scale);
  for (let i = Math.max(0, upper(axis, view.low * scale - 1e-9) - 50); i < end; i++) {
    const mark = DATA.kinds[run.kind[i]].mark;
    if (!match[i] || (mark === MARK.none && !filtered) || axis[i] < view.low * scale) continue;
    const at = place.get(run.laneOfActor.get(run.actor[i]));
    if (at === undefined) continue;
    const cell = at * 1e6 + Math.floor((axis[i] / scale - view.low) / (5 * pixel));
    const before = best.get(cell);
    if (before === undefined || DATA.kinds[run.kind[before]].mark < mark) best.set(cell, i);
  }
  const all = [...best.values()].sort((a, b) => a - b);
  const every = Math.ceil(all.length / MARKS_MAX);
  for (const [n, i] of all.entries()) {
    const mark = DATA.kinds[run.kind[i]].mark;
    if (every > 1 && n % every && mark < MARK.fault) continue;
    marks.push({ value: [place.get(run.laneOfActor.get(run.actor[i])), xOf(run, i), i], mark });
  }
}

/* The way of the page that is filtered for, from actor to actor. */
function wayOfPage(run, place, match) {
  const way = [];
  let before = -1;
  for (let i = 0; i < run.count && way.length < ARROWS_MAX; i++) {
    if (!match[i] || DATA.kinds[run.kind[i]].mark === MARK.none) continue;
    const lane = run.laneOfActor.get(run.actor[i]);
    if (!place.has(lane)) continue;
    if (before >= 0 && run.actor[before] !== run.actor[i]) way.push({ value: [place.get(run.laneOfActor.get(run.actor[before])), xOf(run, before), place.get(lane), xOf(run, i), i], type: "way" });
    before = i;
  }
  return way;
}

function drawBar(one, params, api) {
  if (!one) return null;
  const [at, from, to] = one.value, band = api.size([0, 1])[1], a = api.coord([from, at]), b = api.coord([to, at]);
  const top = a[1] - band / 2;
  if (one.type === "stripe") return { type: "rect", silent: true, shape: { x: params.coordSys.x, width: params.coordSys.width, y: top, height: band }, style: { fill: colour("stripe") } };
  if (one.type === "common") {
    const band = echarts.graphic.clipRectByRect({ x: a[0], width: b[0] - a[0], y: top, height: api.size([0, 1])[1] }, params.coordSys);
    return band && { type: "rect", silent: true, shape: band, style: { fill: colour("mark"), opacity: 0.7 } };
  }
  const width = Math.max(one.type === "turn" ? 1 : 2, b[0] - a[0]);
  const shape = one.type === "turn" ? { y: top + band * 0.1, height: band * 0.42 } : one.type === "hold" ? { y: top + band * 0.58, height: band * 0.16 } : { y: top + band * 0.78, height: band * 0.14 };
  const style = one.type === "turn" ? { fill: COLOUR.turn } : one.type === "hold" ? { fill: COLOUR.hold } : { fill: hatch(), stroke: colour("quiet"), lineWidth: 0.5 };
  const box = echarts.graphic.clipRectByRect({ x: a[0], width, ...shape }, params.coordSys);
  if (!box) return null;
  const rect = { type: "rect", shape: box, style: { ...style, opacity: one.opacity }, info: one };
  const text = one.type === "turn" ? turnText(one) : one.count === 1 ? one.text : "";
  if (box.width < 60 || !text) return rect;
  return { type: "group", children: [rect, { type: "text", silent: true, style: { text, x: box.x + 3, y: box.y + box.height / 2, verticalAlign: "middle", fill: one.type === "turn" ? "#ffffff" : colour("fore"), fontSize: one.type === "turn" ? 11 : 9, width: box.width - 6, overflow: "truncate", ...(one.type === "turn" ? {} : { backgroundColor: colour("back"), padding: [0, 2] }) } }] };
}

/* The kernel functions of a turn, as far as they fit. */
function turnText(one) {
  if (one.count > 1) return "";
  const names = functionsIn(one.run, one.bar.from, one.bar.to, one.bar.lane.actor);
  return names.length ? names.join(" ") : one.text;
}

function functionsIn(run, from, to, actor) {
  const names = [];
  for (let i = from; i <= to && names.length < 12; i++) {
    if (run.actor[i] !== actor || run.name(i) !== "function.entered") continue;
    const name = run.get(i, "function");
    if (name && name !== names.at(-1)) names.push(name);
  }
  return names;
}

const MARK_STYLE = {
  [MARK.none]: ["circle", "info", 2.5], [MARK.info]: ["circle", "info", 3], [MARK.move]: ["square", "move", 4.5],
  [MARK.race]: ["triangle", "race", 6], [MARK.fault]: ["cross", "fault", 6], [MARK.finding]: ["diamond", "finding", 9],
};

function points(shape, x, y, r) {
  if (shape === "triangle") return [[x, y - r], [x + r, y + r * 0.8], [x - r, y + r * 0.8]];
  if (shape === "diamond") return [[x, y - r], [x + r, y], [x, y + r], [x - r, y]];
  if (shape === "square") return [[x - r, y - r], [x + r, y - r], [x + r, y + r], [x - r, y + r]];
  const t = r * 0.35;
  return [[x - r, y - r + t], [x - r + t, y - r], [x, y - t], [x + r - t, y - r], [x + r, y - r + t], [x + t, y], [x + r, y + r - t], [x + r - t, y + r], [x, y + t], [x - r + t, y + r], [x - r, y + r - t], [x - t, y]];
}

function drawMark(one, api) {
  if (!one) return null;
  const [at, x] = one.value, [px, py] = api.coord([x, at]), band = api.size([0, 1])[1], [shape, name, r] = MARK_STYLE[one.mark];
  const style = { fill: COLOUR[name], stroke: colour("back"), lineWidth: 1 }, y = py - band * 0.19;
  if (shape === "circle") return { type: "circle", shape: { cx: px, cy: y, r }, style };
  return { type: "polygon", shape: { points: points(shape, px, y, r) }, style };
}

const DASH = { lock: null, wake: [4, 3], mail: [1, 3], way: [8, 4] };

function drawArrow(one, api) {
  if (!one) return null;
  const [from, a, to, b] = one.value, band = api.size([0, 1])[1], p = api.coord([a, from]), q = api.coord([b, to]);
  const y0 = p[1] + (to > from ? band * 0.1 : -band * 0.4), y1 = q[1] + (to > from ? -band * 0.4 : band * 0.1), up = to > from ? -1 : 1;
  const style = { stroke: COLOUR[one.type], fill: COLOUR[one.type], lineWidth: 1.6, lineDash: DASH[one.type] || "solid" };
  return { type: "group", children: [
    { type: "line", shape: { x1: p[0], y1: y0, x2: q[0], y2: y1 }, style },
    { type: "polygon", shape: { points: [[q[0], y1], [q[0] - 3, y1 + 7 * up], [q[0] + 3, y1 + 7 * up]] }, style: { fill: COLOUR[one.type] } },
  ] };
}

function drawCursor(params, api) {
  const x = api.coord([api.value(1), 0])[0], area = params.coordSys;
  if (x < area.x || x > area.x + area.width) return null;
  return { type: "line", shape: { x1: x, y1: area.y, x2: x, y2: area.y + area.height }, style: { stroke: colour("bad"), lineWidth: 1.5 } };
}

/* -- moving about ------------------------------------------------------------------------------------------------- */

function zoomTo(low, high) {
  const run = state.run, end = xEnd(run), least = axisIsTime() ? 0.001 : 2;
  let span = Math.max(least, Math.min(high - low, end));
  const from = Math.max(0, Math.min(low, end - span));
  if (!(span > 0)) span = end;
  chart("chart-timeline").dispatchAction({ type: "dataZoom", startValue: from, endValue: from + span });
}

function zoomBy(factor) {
  const run = state.run, here = state.moment === null ? null : xOf(run, state.moment);
  const centre = here !== null && here >= view.low && here <= view.high ? here : (view.low + view.high) / 2, span = (view.high - view.low) * factor;
  zoomTo(centre - span / 2, centre + span / 2);
}

function panBy(share) { const shift = (view.high - view.low) * share; zoomTo(view.low + shift, view.high + shift); }

function reveal(run, i) {
  const x = xOf(run, i), span = view.high - view.low;
  if (x < view.low || x > view.high) zoomTo(x - span / 2, x + span / 2);
}

/* The next event in a direction that matches and has at least a rank. */
function seek(direction, rank) {
  const run = state.run, match = matchAll(run);
  for (let i = (state.moment ?? (direction > 0 ? -1 : run.count)) + direction; i >= 0 && i < run.count; i += direction) {
    if (match[i] && DATA.kinds[run.kind[i]].mark >= rank) { select(i); return; }
  }
}

function clicked(event) {
  const run = state.run, one = chart("chart-timeline"), lanes = shownLanes(run), where = [event.offsetX, event.offsetY];
  if (!run.count || !one.containPixel("grid", where)) return;
  const [x, at] = one.convertFromPixel({ gridIndex: 0 }, where), lane = lanes[Math.round(at)];
  if (!lane) return;
  const pixel = (view.high - view.low) / Math.max(200, one.getWidth() - 168);
  let best = -1, least = Infinity;
  const match = matchAll(run), axis = axisIsTime() ? run.time : run.step, scale = axisIsTime() ? 1e6 : 1;
  const start = Math.max(0, upper(axis, (x - 60 * pixel) * scale) - 400), end = Math.min(run.count, upper(axis, (x + 60 * pixel) * scale) + 400);
  for (let i = start; i < end; i++) {
    if (run.actor[i] !== lane.actor || !match[i]) continue;
    const distance = Math.abs(axis[i] / scale - x) - pixel * 3 * DATA.kinds[run.kind[i]].mark;
    if (distance < least) { least = distance; best = i; }
  }
  if (best >= 0) select(best);
}

/* -- beside the chart --------------------------------------------------------------------------------------------- */

function drawLanes(run) {
  replace("lane-list", lanesOf(run).slice(0, 2000).map((lane) => {
    const box = h("input", { type: "checkbox" });
    box.checked = !lane.hidden;
    box.addEventListener("change", () => { lane.hidden = !box.checked; drawTimeline(run); drawEvents(run); });
    return h("label", {}, box, ` ${lane.name} (node ${lane.node}, CPU ${lane.cpu})`);
  }));
}

const LIST = 60;

function drawEvents(run) {
  const match = matchAll(run), here = state.moment ?? 0, rows = [];
  for (let i = here, n = 0; i >= 0 && n < LIST; i--) if (match[i]) { rows.unshift(i); n++; }
  for (let i = here + 1, n = 0; i < run.count && n < LIST; i++) if (match[i]) { rows.push(i); n++; }
  const list = replace("event-list", rows.length ? rows.map((i) => eventRow(run, i, i === state.moment, () => select(i))) : h("p", { class: "quiet" }, "no event matches"));
  const row = list.querySelector(".here");
  if (row) list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 2;
}

function eventRow(run, i, here, onclick) {
  const mark = DATA.kinds[run.kind[i]].mark;
  const level = mark === MARK.race ? " race" : run.level(i) === "error" ? " error" : "";
  return h("div", { class: `row${level}${here ? " here" : ""}`, onclick },
    h("span", { class: "number" }, String(run.step[i])), h("span", {}, run.actorName(i)), h("span", {}, run.name(i)),
    h("span", {}, run.fields(i).map(([name, value]) => `${name}=${value}`).join(" ")));
}

/* The kernel function in which an event happened: named by it, or the one that its actor entered last. */
function functionOf(run, i) {
  const own = run.get(i, "function");
  if (own) return own;
  if (DATA.functions[run.name(i)]) return run.name(i);
  for (let j = i; j >= 0 && j > i - 5000; j--) {
    if (run.actor[j] === run.actor[i] && run.name(j) === "function.entered" && run.get(j, "function")) return run.get(j, "function");
  }
  return "";
}

function drawDetail(run) {
  const i = state.moment;
  if (i === null) { replace("event-detail", h("p", { class: "quiet" }, "Click on the timeline, or press n.")); return; }
  const name = functionOf(run, i), pages = [...new Set(run.pages(i))];
  replace("event-detail",
    h("h2", {}, run.name(i)), h("p", {}, DATA.kinds[run.kind[i]].summary),
    table(["", ""], [["step", String(run.step[i])], ["time", milliseconds(run.time[i])], ["actor", `${run.actorName(i)} on node ${DATA.actors[run.actor[i]][1]}, CPU ${DATA.actors[run.actor[i]][2]}`], ...run.fields(i).map(([field, value]) => [field, field.endsWith("address") && value >= 0 ? `0x${value.toString(16)}` : String(value)]), ["locks held", heldAt(run, i).join(", ") || "none"]], ""),
    pages.length ? h("p", {}, "page: ", pages.map((pfn) => [h("button", { type: "button", onclick: () => { setFilter("page", String(pfn)); } }, `only pfn ${pfn}`), " "])) : null,
    name ? h("h3", {}, `in ${name}`) : null,
    (DATA.functions[name] || []).map((place) => h("div", {}, h("p", { class: "code" }, `${place.file}:${place.line}`), h("pre", {}, place.text))));
}

function heldAt(run, i) {
  lanesOf(run);
  const lane = run.laneOfActor.get(run.actor[i]);
  return lane.holds.filter((hold) => hold.from <= i && hold.to > i).map((hold) => hold.text);
}

function setFilter(name, value) {
  document.getElementById(`filter-${name}`).value = value;
  readFilters();
}

function readFilters() {
  const value = (name) => document.getElementById(`filter-${name}`).value.trim();
  const page = value("page");
  filter.page = /^\d+$/.test(page) ? Number(page) : null;
  filter.tree = value("tree");
  filter.event = value("event");
  filter.text = value("text").toLowerCase();
  refresh(state.run);
  drawEvents(state.run);
}

function fillFilters(run) {
  const names = [...new Set(Array.from(run.kind, (kind) => kind))].map((kind) => DATA.kinds[kind].name);
  const unique = [...new Set(names)].sort(), groups = unique.some((name) => name.startsWith("race.")) ? ["race.*"] : [];
  const trees = new Set();
  for (let i = 0; i < run.count; i++) {
    const nid = run.get(i, "tree_nid");
    if (nid >= 0) trees.add(`${run.get(i, "tree") ?? (run.name(i).startsWith("unstable") ? "unstable" : "stable")} ${nid}`);
  }
  const options = (all) => [h("option", { value: "" }, "all"), ...all.map((name) => h("option", { value: name }, name))];
  replace("filter-event", options([...groups, ...unique]));
  replace("filter-tree", options([...trees].sort()));
  const sample = (draw) => s("svg", { width: 22, height: 12 }, draw);
  const mark = (rank) => { const [shape, name, r] = MARK_STYLE[rank]; return sample(shape === "circle" ? s("circle", { cx: 11, cy: 6, r, fill: COLOUR[name] }) : s("polygon", { points: points(shape, 11, 6, Math.min(r, 6)).map((p) => p.join(",")).join(" "), fill: COLOUR[name] })); };
  const line = (kind) => sample(s("line", { x1: 0, y1: 6, x2: 22, y2: 6, stroke: COLOUR[kind], "stroke-width": 2, "stroke-dasharray": (DASH[kind] || []).join(" ") }));
  const legend = [["turn", sample(s("rect", { width: 22, height: 10, fill: COLOUR.turn }))], ["holds a lock", sample(s("rect", { y: 3, width: 22, height: 5, fill: COLOUR.hold }))], ["waits", sample([s("rect", { x: 0.5, y: 2.5, width: 21, height: 7, fill: "none", stroke: colour("quiet") }), ...[3, 8, 13, 18].map((x) => s("line", { x1: x, y1: 9, x2: x + 4, y2: 3, stroke: colour("quiet") }))])], ["race", mark(MARK.race)], ["fault, warning", mark(MARK.fault)], ["finding", mark(MARK.finding)], ["page moved", mark(MARK.move)], ["event", mark(MARK.info)], ["lock handed on", line("lock")], ["wake-up", line("wake")], ["mailbox", line("mail")], ["way of the page", line("way")]];
  replace("legend", legend.map(([text, picture]) => h("span", {}, picture, text)));
}

function startTimeline() {
  const one = chart("chart-timeline");
  one.on("datazoom", () => {
    const zoom = one.getOption().dataZoom[0];
    view.low = zoom.startValue;
    view.high = zoom.endValue;
    refresh(state.run);
  });
  one.getZr().on("click", clicked);
  for (const name of ["page", "tree", "event", "text"]) document.getElementById(`filter-${name}`).addEventListener("input", readFilters);
  document.getElementById("filter-clear").addEventListener("click", clearFilters);
  document.getElementById("axis").addEventListener("change", () => { view.low = 0; view.high = xEnd(state.run); drawTimeline(state.run); });
  document.getElementById("zoom-in").addEventListener("click", () => zoomBy(0.5));
  document.getElementById("zoom-out").addEventListener("click", () => zoomBy(2));
  document.getElementById("zoom-fit").addEventListener("click", () => zoomTo(0, xEnd(state.run)));
}

function clearFilters() {
  for (const name of ["page", "tree", "event", "text"]) document.getElementById(`filter-${name}`).value = "";
  lanesOf(state.run).forEach((lane, place) => { lane.hidden = place >= LANES_SHOWN; });
  readFilters();
  drawTimeline(state.run);
}

const KEYS = {
  ArrowLeft: () => panBy(-0.25), ArrowRight: () => panBy(0.25), "+": () => zoomBy(0.5), "=": () => zoomBy(0.5), "-": () => zoomBy(2),
  0: () => zoomTo(0, xEnd(state.run)), n: () => seek(1, MARK.none), p: () => seek(-1, MARK.none), m: () => seek(1, MARK.race), M: () => seek(-1, MARK.race), Escape: clearFilters,
};
