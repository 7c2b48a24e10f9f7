/* The first view: what was found, and figures of the schedule. */

const SAID = 3;

function drawOverview(run) {
  replace("verdict", verdictOf(run));
  drawPages(run);
  drawMerges(run);
  drawRaces(run);
  drawShares(run);
  replace("table-races", raceTable(run));
  replace("table-locks", lockTable(run));
  replace("table-misplaced", misplacedTable(run));
  replace("table-runs", runTable());
}

function findingOf(run) {
  return (DATA.findings || []).map((one) => (one.run === run.number ? one : one.shrunk && one.shrunk.run === run.number ? one.shrunk : null)).find(Boolean);
}

function verdictOf(run) {
  const finding = findingOf(run);
  if (finding) return verdictBlock(finding);
  const found = [...run.named("finding.found")];
  if (!found.length && !run.raw.found) return h("div", { class: "verdict" }, h("p", { class: "signature" }, "no finding"), h("p", {}, `${quantity(run.count, "event")} of ${run.raw.name}, seed ${run.raw.seed}`));
  return h("div", { class: "verdict bad" },
    h("p", { class: "signature" }, run.raw.found),
    found.map((i) => h("p", {}, `step ${run.step[i]}, ${run.actorName(i)}: ${run.get(i, "message")}`)),
    h("p", { class: "quiet" }, "Give the finding file to `ksmactors report` for its order, locks and source."));
}

function verdictBlock(finding) {
  const met = finding.actors.map((actor, place) => `${actor} in ${finding.functions[place]}`).join(" and ");
  const steps = finding.met || [];
  const broke = finding.broke && finding.broke.by;
  const moves = movesOf(finding);
  const who = new Set([...steps.map((step) => step.actor), ...(broke ? [broke.actor] : []), ...finding.actors, ...(finding.departures || []).flatMap((one) => [one.actor, one.to]).slice(0, 2 * SAID), ...moves.map((one) => one.actor)]);
  return h("div", { class: "verdict bad" },
    h("p", { class: "signature" }, finding.signature),
    h("p", {}, finding.message),
    finding.concerns && finding.concerns.length ? h("p", {}, h("b", {}, "about: "), finding.concerns.join("; ")) : null,
    moves.length ? h("p", {}, h("b", {}, "moved: "), moves.map((one) => one.text).join("; ")) : null,
    h("p", {}, h("b", {}, "actors: "), [...who].join(", "), `; step ${finding.step}: ${met}`),
    steps.map((step, place) => h("p", {}, h("b", {}, place ? "then: " : "first: "), stepText(step))),
    !steps.length && finding.cause ? h("p", {}, h("b", {}, "cause: "), finding.cause) : null,
    finding.promise ? h("p", {}, h("b", {}, "promise broken: "), finding.promise) : null,
    differenceBlock(finding, SAID));
}

/* The last migration of each page that a finding is about. */
function movesOf(finding) {
  const pages = pagesOf(finding), run = finding.run >= 0 ? runOf(finding.run) : null, last = new Map();
  if (run) for (const i of run.named("migrate_page")) if (run.get(i, "err") === 0 && pages.has(run.get(i, "pfn")) && run.step[i] <= finding.step) last.set(run.get(i, "pfn"), i);
  return [...last].map(([pfn, i]) => ({ actor: run.actorName(i), text: `${run.actorName(i)} moved pfn ${run.get(i, "old_pfn")} to pfn ${pfn} on node ${run.get(i, "nid")} (step ${run.step[i]})` }));
}

function pagesOf(finding) {
  return new Set((finding.concerns || []).flatMap((text) => Array.from(text.matchAll(/\bk?pfn (\d+)/g), (found) => Number(found[1]))));
}

/* Orders that are necessary, with the share of schedules that fail when only they are enforced. */
function differenceBlock(finding, most) {
  const orders = finding.orders || [];
  if (!orders.length) return departuresBlock(finding, most);
  return h("div", {}, h("b", {}, "what made the difference: "),
    h("ol", {}, orders.slice(0, most).map((order) => h("li", {}, order.sentence, order.share ? ` (${order.share})` : ""))));
}

/* Without such orders: where the shrunk schedule departs from the default order. */
function departuresBlock(finding, most) {
  const all = finding.departures;
  if (!all) return null;
  if (!all.length) return h("p", {}, h("b", {}, "order: "), "the default one, in which an actor runs until it blocks. No departure from it is needed.");
  const more = all.length > most ? h("li", {}, `${all.length - most} more, see Finding`) : null;
  return h("div", {}, h("b", {}, "order: "), "the default one, but for", h("ol", {}, all.slice(0, most).map((one) => h("li", {}, departureText(one))), more));
}

function departureText(one) { return `${one.actor} is to do "${one.doing}" next, and ${one.to} gets the turn`; }

function stepText(step) {
  const held = step.held && step.held.length ? `, holding ${step.held.join(" and ")}` : "";
  return `${step.actor} ${step.operation} in ${[step.function, ...(step.callers || []).slice(0, 2)].join(" < ")} (step ${step.step})${held}`;
}

function timeAxis(run) { return { type: "value", min: 0, max: run.lastTime / 1e6, name: "ms", ...axisStyle() }; }

function lineChart(id, run, series, none) {
  if (!series.some((one) => one.data.length)) return nothing(id, none);
  const dashes = ["solid", "dashed", "dotted", [8, 3, 2, 3]];
  chart(id).setOption({
    ...base(), legend: { textStyle: { color: colour("fore") }, top: 0 }, grid: { left: 46, right: 30, top: 32, bottom: 26 },
    xAxis: timeAxis(run), yAxis: { type: "value", minInterval: 1, ...axisStyle() },
    series: series.map((one, place) => ({ type: "line", step: "end", symbol: "none", sampling: "lttb", name: one.name, data: one.data, lineStyle: { width: 2, type: dashes[place % 4], color: NODE_COLOURS[place] }, itemStyle: { color: NODE_COLOURS[place] } })),
  }, true);
}

function drawPages(run) {
  const names = ["pages_shared", "pages_sharing", "pages_unshared", "migrate_nodes"];
  const series = names.map((name) => ({ name, data: [] }));
  for (const i of run.named("ksm.counters")) names.forEach((name, place) => series[place].data.push([run.time[i] / 1e6, run.get(i, name)]));
  if (series[0].data.length) series.forEach((one) => one.data.push([run.lastTime / 1e6, one.data.at(-1)[1]]));
  lineChart("chart-pages", run, series, "no counters: log with --detail");
}

function drawMerges(run) {
  const merges = { name: "merges", data: [] }, breaks = { name: "breaks", data: [] };
  const add = (series, i) => {
    if (!series.data.length) series.data.push([0, 0]);
    series.data.push([run.time[i] / 1e6, series.data.length]);
  };
  for (const i of run.named("ksm_merge_one_page", "ksm_merge_with_ksm_page")) if (run.get(i, "err") === 0) add(merges, i);
  for (const i of run.named("break_ksm", "break_cow", "ksm_remove_rmap_item")) add(breaks, i);
  lineChart("chart-merges", run, [merges, breaks], "no page was merged");
}

function barChart(id, rows, none) {
  if (!rows.length) return nothing(id, none);
  const shown = rows.slice(0, 12).reverse();
  chart(id).setOption({
    ...base(), grid: { left: 8, right: 50, top: 6, bottom: 22, containLabel: true },
    xAxis: { type: "value", minInterval: 1, ...axisStyle() },
    yAxis: { type: "category", data: shown.map((row) => row[0]), ...axisStyle(), axisLabel: { color: colour("fore"), width: 180, overflow: "truncate" } },
    series: [{ type: "bar", barMaxWidth: 16, data: shown.map((row) => row[1]), itemStyle: { color: COLOUR.turn }, label: { show: true, position: "right", color: colour("fore"), formatter: (one) => (shown[one.dataIndex][2] || one.value.toLocaleString("en")) } }],
  }, true);
}

function counted(keys) {
  const counts = new Map();
  for (const key of keys) counts.set(key, (counts.get(key) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function drawRaces(run) {
  const rows = Object.entries(run.raw.races).map(([name, count]) => [name.slice(5), count]).sort((a, b) => b[1] - a[1]);
  barChart("chart-races", rows, "no race");
}

function drawShares(run) {
  const rows = lanesOf(run).map((lane) => [lane.name, lane.turns.reduce((sum, turn) => sum + turn.s1 - turn.s0, 0)]).filter((row) => row[1]);
  const all = rows.reduce((sum, row) => sum + row[1], 0);
  barChart("chart-shares", rows.sort((a, b) => b[1] - a[1]).map(([name, steps]) => [name, steps, `${((100 * steps) / all).toFixed(1)} %`]), "no steps");
}

function raceTable(run) {
  const keys = [];
  for (let i = 0; i < run.count; i++) {
    if (DATA.kinds[run.kind[i]].mark !== MARK.race) continue;
    const nid = (field) => { const value = run.get(i, field); return value >= 0 ? String(value) : "-"; };
    keys.push([run.name(i).slice(5), run.get(i, "tree") ?? "-", nid("tree_nid"), nid("page_nid"), run.get(i, "winner"), run.get(i, "loser"), run.get(i, "cost") ?? ""].join("\u0000"));
  }
  return table(["kind", "tree", "of node", "page on", "winner", "loser", "cost", "times"], counted(keys).slice(0, 40).map(([key, count]) => [...key.split("\u0000"), count]), "no race");
}

function lockTable(run) {
  const waits = new Map();
  for (const i of run.named("lock.wait")) {
    const key = [kindOfLock(run.get(i, "lock")), run.actorName(i), run.get(i, "holder") ?? "unknown"].join("\u0000");
    waits.set(key, (waits.get(key) || 0) + 1);
  }
  const waited = new Map();
  for (const i of run.named("lock.acquired")) {
    const key = [kindOfLock(run.get(i, "lock")), run.actorName(i)].join("\u0000");
    waited.set(key, (waited.get(key) || 0) + run.get(i, "waited"));
  }
  const rows = [...waits].sort((a, b) => b[1] - a[1]).slice(0, 40).map(([key, count]) => {
    const [lock, actor, holder] = key.split("\u0000"), ns = waited.get([lock, actor].join("\u0000"));
    return [lock, `${actor} \u2192 ${holder}`, ns === undefined ? "" : milliseconds(ns), count];
  });
  return table(["lock", "waits for", "waited in all", "times"], rows, "no lock was found taken");
}

function kindOfLock(name) { return String(name).replace(/ of .*$/, "").replace(/\s*\d+$/, ""); }

/* Stable nodes in a tree of another node than their page's, from when they got there until they were mended or gone. */
function misplacedSpans(run) {
  const open = new Map(), spans = [];
  const close = (node, i, how) => {
    const span = open.get(node);
    if (!span) return;
    open.delete(node);
    spans.push({ ...span, until: i, how });
  };
  for (const i of run.named("ksm_migrate_page", "stable_node.misplaced", "stable_node.reslotted", "stable_node.collided", "stable_node.freed", "ksm_remove_ksm_page", "stable_tree_insert")) {
    const node = run.get(i, "stable_node"), name = run.name(i);
    if (name === "ksm_remove_ksm_page") {
      for (const [number, span] of [...open]) if (span.kpfn === run.get(i, "pfn")) close(number, i, "removed");
    } else if (name === "ksm_migrate_page" || name === "stable_node.misplaced") {
      const nid = run.get(i, "nid"), tree = run.get(i, "tree_nid");
      if (nid === tree) close(node, i, "moved back");
      else if (!isApart(run, i)) continue;
      else if (!open.has(node)) open.set(node, { node, kpfn: run.get(i, "kpfn"), nid, tree, from: i });
      else open.get(node).kpfn = run.get(i, "kpfn");
    } else close(node, i, { "stable_node.reslotted": "into its tree", "stable_node.collided": "merged away", "stable_node.freed": "freed" }[name] || "inserted");
  }
  for (const span of open.values()) spans.push({ ...span, until: null, how: "not mended" });
  return spans.sort((a, b) => a.from - b.from);
}

function misplacedTable(run) {
  const rows = misplacedSpans(run).slice(0, 40).map((span) => [
    momentLink(span.from, `step ${run.step[span.from]}`), `stable node ${span.node}, kpfn ${span.kpfn}`, `page on ${span.nid}, tree of ${span.tree}`,
    span.until === null ? "to the end" : milliseconds(run.time[span.until] - run.time[span.from]), span.how,
  ]);
  return table(["since", "what", "where", "for", "then"], rows, "no page was misplaced");
}

function runTable() {
  const rows = RUNS.slice(0, 200).map((raw, number) => [
    h("a", { href: `#run=${number}` }, raw.title || `${raw.name}, seed ${raw.seed}`), raw.file, raw.found || "no finding", raw.kind.length + raw.left_out, raw.left_out,
  ]);
  return h("div", {}, table(["schedule", "from", "found", "events", "left out"], rows, ""), RUNS.length > 200 ? h("p", { class: "quiet" }, `and ${RUNS.length - 200} more`) : null);
}

function momentLink(i, text) { return h("a", { href: `#run=${state.run.number}&event=${i}` }, text); }
