/* Views, the moment, and the address that names both. */

const VIEWS = { overview: ["Overview", drawOverview], finding: ["Finding", drawFinding], timeline: ["Timeline", showTimeline], beside: ["Side by side", drawBeside], trees: ["Trees", drawTrees], pages: ["A page's life", showPages] };
const state = { run: null, moment: null, view: "", ready: false };

function showTimeline(run) { drawTimeline(run); drawEvents(run); drawDetail(run); }

function showPages(run) { fillPages(run); drawLife(run); }

function show(name) {
  state.view = name;
  for (const key of Object.keys(VIEWS)) {
    document.getElementById(`view-${key}`).classList.toggle("shown", key === name);
    document.getElementById(`tab-${key}`)?.setAttribute("aria-selected", String(key === name));
  }
  VIEWS[name][1](state.run);
  if (name === "timeline" && state.moment !== null) reveal(state.run, state.moment);
  remember();
}

/* Go to an event: every view that is open follows. */
function select(i) {
  state.moment = i;
  if (state.view === "timeline") { reveal(state.run, i); refresh(state.run); drawEvents(state.run); drawDetail(state.run); }
  else if (state.view === "trees") drawTrees(state.run);
  else if (state.view === "pages") drawLife(state.run);
  remember();
}

function choose(number) {
  state.run = runOf(number);
  state.moment = null;
  lanesOf(state.run);
  view.low = 0;
  view.high = xEnd(state.run);
  document.getElementById("run").value = String(number);
  fillFilters(state.run);
}

let written = "";

function remember() {
  if (!state.ready) return;
  written = `#run=${state.run.number}&view=${state.view}${state.view === "beside" ? `&other=${beside.other}` : state.moment === null ? "" : `&event=${state.moment}`}`;
  if (location.hash !== written) location.replace(written);
}

/* #run=N&view=NAME&event=N, or step=N for the last event at or before a step. */
function follow() {
  if (location.hash === written && state.ready) return;
  const said = new URLSearchParams(location.hash.slice(1)), whole = (name) => (/^\d{1,12}$/.test(said.get(name) || "") ? Number(said.get(name)) : null);
  const number = whole("run") ?? bestRun();
  if (!state.run || state.run.number !== number) choose(number < RUNS.length ? number : bestRun());
  const event = whole("event"), step = whole("step");
  if (event !== null && event < state.run.count) state.moment = event;
  else if (step !== null && state.run.count) state.moment = state.run.at(step);
  const wanted = said.get("view") ?? (DATA.comparison && number === DATA.comparison.one && state.moment === null ? "beside" : null), other = whole("other");
  if (other !== null && other < RUNS.length) beside.other = other;
  show(Object.hasOwn(VIEWS, wanted || "") ? wanted : state.moment === null ? "overview" : "timeline");
}

/* The shrunk form of the first finding, else its schedule, else the first schedule with one, else the first. */
function bestRun() {
  if (DATA.comparison) return DATA.comparison.one;
  const finding = (DATA.findings || [])[0];
  if (finding) return finding.shrunk ? finding.shrunk.run : finding.run;
  const found = RUNS.findIndex((raw) => raw.found && raw.kind.length), any = RUNS.findIndex((raw) => raw.kind.length);
  return Math.max(0, found >= 0 ? found : any);
}

function redraw() {
  if (!state.run) return;
  for (const one of charts.values()) one.resize();
  VIEWS[state.view][1](state.run);
}

function start() {
  document.getElementById("title").textContent = DATA.title;
  replace("notes", (DATA.notes || []).join("\n"));
  replace("foot", DATA.made_by, " \u00b7 drawn with Apache ECharts 6.1.0 (Apache License 2.0)");
  replace("views", Object.entries(VIEWS).filter(([key]) => key !== "beside" || RUNS.length > 1).map(([key, [text]]) => h("button", { id: `tab-${key}`, type: "button", role: "tab", "aria-controls": `view-${key}`, onclick: () => show(key) }, text)));
  const pick = replace("run", RUNS.map((raw, number) => h("option", { value: String(number) }, titleOf(raw))));
  pick.addEventListener("change", () => { choose(Number(pick.value)); show(state.view); });
  startTimeline();
  startTrees();
  startBeside();
  follow();
  state.ready = true;
  remember();
  window.addEventListener("hashchange", follow);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 100); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => {
    document.body.classList.add("printing");  /* what is not shown has no size to draw in */
    for (const [, draw] of Object.values(VIEWS)) draw(state.run);
    for (const one of charts.values()) one.resize();
  });
  window.addEventListener("afterprint", () => { document.body.classList.remove("printing"); redraw(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || /^(input|select|textarea)$/i.test(event.target.tagName)) return;
    if (state.view === "trees" && (event.key === "n" || event.key === "p")) { stepTree(event.key === "n" ? 1 : -1); return; }
    if (state.view === "beside" && Object.hasOwn(BESIDE_KEYS, event.key)) { event.preventDefault(); BESIDE_KEYS[event.key](); return; }
    if (state.view !== "timeline" || !Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  document.documentElement.dataset.ready = "yes";
}

start();
