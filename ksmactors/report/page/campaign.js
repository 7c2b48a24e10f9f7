/* The page of a campaign: curves over time and over schedules, what was found, and what was never reached. */

const DATA = JSON.parse(document.getElementById("data").textContent);

/* Okabe and Ito once more, for lines: without the yellow, which is hard to see on white. */
const LINES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f8c99"];
const DASHES = ["solid", "dashed", "dotted", [8, 3, 2, 3]];

/* Workloads with a line of their own; the others are one. */
const SHOWN = 6;

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/* The unit in which a time is shown. */
function unitOf(seconds) { return UNITS.find(([length]) => seconds >= 2 * length) || UNITS[3]; }

function duration(seconds) {
  const [length, name] = unitOf(seconds);
  return `${(seconds / length).toLocaleString("en", { maximumFractionDigits: 1 })} ${name}`;
}

function percent(share) { return `${(100 * share).toFixed(1)} %`; }

const [LENGTH, UNIT] = unitOf(DATA.seconds);

/* Points over time, in the unit of the axis. */
function overTime(points) { return points.map(([at, value]) => [at / LENGTH, value]); }

function timeAxis() {
  return { type: "value", min: 0, max: DATA.seconds / LENGTH || 1, name: UNIT, nameLocation: "middle", nameGap: 24, ...axisStyle(), axisLabel: { color: colour("quiet"), showMaxLabel: false } };
}

function countAxis(name) {
  return { type: "value", min: 0, max: Math.max(1, DATA.schedules), name, nameLocation: "middle", nameGap: 24, ...axisStyle(), axisLabel: { color: colour("quiet"), showMaxLabel: false } };
}

function line(name, place, data, more) {
  return { type: "line", name, data, symbol: "none", lineStyle: { width: 2, type: DASHES[place % DASHES.length], color: LINES[place % LINES.length] }, itemStyle: { color: LINES[place % LINES.length] }, ...more };
}

function frame(names, axes) {
  return {
    ...base(), grid: { left: 60, right: 56, top: names.length > 3 ? 52 : 32, bottom: 42 },
    legend: names.length > 1 ? { type: "plain", data: names, top: 0, textStyle: { color: colour("fore"), width: 150, overflow: "truncate" } } : { show: false },
    tooltip: { trigger: "axis", renderMode: "richText", confine: true, valueFormatter: (value) => (typeof value === "number" ? value.toLocaleString("en") : String(value)) },
    ...axes,
  };
}

/* Names of workloads with most schedules first; those beyond SHOWN are "others". */
function ranked() {
  const totals = Object.entries(DATA.curves.done).map(([name, points]) => [name, points.at(-1)[1]]);
  totals.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return totals.length > SHOWN + 1 ? [totals.slice(0, SHOWN).map((one) => one[0]), totals.slice(SHOWN).map((one) => one[0])] : [totals.map((one) => one[0]), []];
}

function drawDone() {
  const [names, others] = ranked();
  if (!DATA.schedules) return nothing("chart-done", "no schedule was run");
  const all = Object.values(DATA.curves.done), sum = (which) => overTime(all[0].map(([at], place) => [at, which.reduce((total, name) => total + DATA.curves.done[name][place][1], 0)]));
  const series = names.map((name, place) => line(name, place, overTime(DATA.curves.done[name])));
  if (others.length) series.push(line(`${others.length} others`, 6, sum(others)));
  if (all.length > 1) series.unshift(line("all", 0, sum([...names, ...others]), { lineStyle: { width: 3, color: colour("fore") }, itemStyle: { color: colour("fore") } }));
  chart("chart-done").setOption({ ...frame(series.map((one) => one.name), { xAxis: timeAxis(), yAxis: { type: "value", minInterval: 1, ...axisStyle() } }), series }, true);
}

function drawFound() {
  const points = DATA.curves.found;
  if (!points.length) return nothing("chart-found", "nothing was found");
  const data = overTime([[0, 0], ...points, [DATA.seconds, points.at(-1)[1]]]);
  const series = [line("findings", 4, data, { step: "end", symbol: "circle", symbolSize: 6, showAllSymbol: true, lineStyle: { width: 2, type: "solid", color: COLOUR.finding }, itemStyle: { color: COLOUR.finding } })];
  chart("chart-found").setOption({ ...frame(["findings"], { xAxis: timeAxis(), yAxis: { type: "value", min: 0, minInterval: 1, ...axisStyle() } }), series }, true);
}

function drawDistinct() {
  if (!DATA.curves.distinct.length) return nothing("chart-distinct", "no schedule was run");
  const axes = {
    xAxis: countAxis("schedules"),
    yAxis: [{ type: "value", min: 0, minInterval: 1, ...axisStyle() }, { type: "value", min: 0, max: 1, ...axisStyle(), splitLine: { show: false }, axisLabel: { color: colour("quiet"), formatter: (value) => `${Math.round(100 * value)} %` } }],
  };
  const series = [line("distinct interleavings", 0, [[0, 0], ...DATA.curves.distinct]), line("unseen (right)", 1, DATA.curves.unseen, { yAxisIndex: 1 })];
  chart("chart-distinct").setOption({ ...frame(series.map((one) => one.name), axes), series }, true);
}

function drawRate() {
  if (!DATA.curves.rate.length) return nothing("chart-rate", "no schedule was run");
  const rates = [[0, DATA.curves.rate[0][1]], ...DATA.curves.rate];
  const series = [line("schedules a second", 2, overTime(rates), { step: "start", lineStyle: { width: 2, color: LINES[2] }, areaStyle: { color: LINES[2], opacity: 0.15 } })];
  chart("chart-rate").setOption({ ...frame(["rate"], { xAxis: timeAxis(), yAxis: { type: "value", min: 0, ...axisStyle() } }), series }, true);
}

function drawShares() {
  const parts = DATA.curves.shares;
  if (!parts.length) return nothing("chart-shares", "no schedule was run");
  const [names, others] = ranked(), of = (counts, which) => which.reduce((total, name) => total + (counts[name] || 0), 0);
  const groups = [...names.map((name) => [name, [name]]), ...(others.length ? [[`${others.length} others`, others]] : [])];
  const series = groups.map(([name, which], place) => ({
    type: "bar", name, stack: "all", barCategoryGap: "0%", itemStyle: { color: LINES[place % LINES.length], decal: place % 2 ? { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -0.8, color: "rgba(0,0,0,0.25)" } : null },
    data: parts.map(([, counts]) => of(counts, which) / of(counts, [...names, ...others])),
  }));
  const axes = {
    xAxis: { type: "category", data: parts.map(([last]) => last.toLocaleString("en")), name: "schedules", nameLocation: "middle", nameGap: 24, ...axisStyle() },
    yAxis: { type: "value", min: 0, max: 1, ...axisStyle(), axisLabel: { color: colour("quiet"), formatter: (value) => `${Math.round(100 * value)} %` } },
  };
  chart("chart-shares").setOption({ ...frame(groups.map(([name]) => name), axes), tooltip: { trigger: "axis", renderMode: "richText", confine: true, valueFormatter: percent }, series }, true);
}

function drawRaces() {
  const rows = DATA.races.slice().reverse();
  if (!rows.length) return nothing("chart-races", "no race");
  chart("chart-races").setOption({
    ...base(), grid: { left: 8, right: 80, top: 6, bottom: 22, containLabel: true },
    xAxis: { type: "value", minInterval: 1, ...axisStyle() },
    yAxis: { type: "category", data: rows.map((row) => row[0]), ...axisStyle(), axisLabel: { color: colour("fore"), interval: 0, fontSize: 10 } },
    series: [{ type: "bar", barMaxWidth: 12, data: rows.map((row) => row[1]), itemStyle: { color: LINES[0] }, label: { show: true, position: "right", fontSize: 10, color: colour("fore"), formatter: (one) => (one.value ? one.value.toLocaleString("en") : "never") } }],
  }, true);
}

function verdict() {
  const done = `${quantity(DATA.schedules, "schedule")} in ${duration(DATA.seconds)}; ${DATA.left ? `${DATA.left.toLocaleString("en")} left` : "none left"}`;
  return h("div", { class: DATA.findings.length || DATA.crash ? "verdict bad" : "verdict" },
    h("p", { class: "signature" }, DATA.verdict),
    h("p", {}, done, `; ${DATA.distinct.toLocaleString("en")} distinct interleavings, unseen ${percent(DATA.unseen)}`),
    h("p", {}, DATA.settings),
    DATA.races.length && DATA.never.length ? h("p", {}, h("b", {}, "kinds of race that never happened: "), DATA.never.join(", ")) : null,
    h("p", { class: "quiet" }, `digest ${DATA.digest}`));
}

function draw() {
  for (const one of charts.values()) one.resize();
  for (const one of [drawDone, drawFound, drawDistinct, drawRate, drawShares, drawRaces]) one();
}

function start() {
  document.getElementById("title").textContent = DATA.title;
  replace("foot", DATA.made_by, " \u00b7 drawn with Apache ECharts 6.1.0 (Apache License 2.0)");
  replace("verdict", verdict());
  replace("table-findings", table(["found after", "what", "seed", "schedules", "replay"], DATA.findings.map((one) => [
    one.after === null ? "-" : duration(one.after), h("div", {}, h("b", {}, one.signature), h("div", {}, one.message)), one.seed, one.count, h("code", {}, one.replay)]), "nothing was found"));
  replace("table-rates", table(["workload", "strategy", "schedules", "a second of one core", "steps each", "unseen", "findings"], DATA.rates.filter((one) => one.schedules).map((one) => [
    one.workload, one.strategy, one.schedules, Math.round(10 * one.per_second) / 10, Math.round(one.steps / one.schedules), percent(one.unseen), one.findings]), "no schedule was run"));
  replace("table-marks", table(["mark", "times"], DATA.marks, "no mark was passed"));
  replace("table-slowest", table(["seed", "workload", "seconds", "steps"], DATA.slowest.map((one) => [String(one.seed), one.workload, one.seconds, one.steps]), "no schedule was run"));
  draw();
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 100); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.documentElement.dataset.ready = "yes";
}

start();
