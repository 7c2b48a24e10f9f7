/* The trees at a moment, and the life of a page. */

/* What is in each tree, and where the pages are, after the events up to one. */
function treesAt(run, moment) {
  const trees = new Map(), nodes = new Map(), items = new Map(), listed = new Map(), nids = new Map();
  const tree = (name, nid) => { const key = `${name} ${nid}`; if (!trees.has(key)) trees.set(key, { name, nid, entries: new Set() }); return trees.get(key); };
  const kernelNodes = run.nodes || (run.nodes = nodesOf(run));
  for (let nid = 0; nid < kernelNodes; nid++) { tree("stable", nid); tree("unstable", nid); }
  const detail = !run.named("tree.inserted").next().done;
  const entry = (i) => { const node = run.get(i, "stable_node"); return node >= 0 ? `n${node}` : `r${run.get(i, "rmap_item")}`; };
  const put = (node, kpfn) => nodes.set(node, { kpfn });
  for (let i = 0; i <= moment && i < run.count; i++) {
    const name = run.name(i), pfn = run.get(i, "kpfn") ?? run.get(i, "pfn"), nid = run.get(i, "page_nid") ?? run.get(i, "nid");
    if (pfn >= 0 && nid >= 0) nids.set(pfn, nid);
    switch (name) {
      case "tree.inserted":
        tree(run.get(i, "tree"), run.get(i, "tree_nid")).entries.add(entry(i));
        if (run.get(i, "stable_node") >= 0) put(run.get(i, "stable_node"), run.get(i, "pfn")); else items.set(run.get(i, "rmap_item"), run.get(i, "pfn"));
        break;
      case "tree.erased": tree(run.get(i, "tree"), run.get(i, "tree_nid")).entries.delete(entry(i)); break;
      case "tree.reset": tree(run.get(i, "tree"), run.get(i, "tree_nid")).entries.clear(); break;
      case "stable_tree_insert": case "stable_node.reslotted":
        put(run.get(i, "stable_node"), run.get(i, "kpfn"));
        if (!detail) tree("stable", run.get(i, "tree_nid")).entries.add(`n${run.get(i, "stable_node")}`);
        listed.delete(run.get(i, "stable_node"));
        break;
      case "unstable_tree_search_insert":
        items.set(run.get(i, "rmap_item"), run.get(i, "pfn"));
        if (!detail) tree("unstable", run.get(i, "tree_nid")).entries.add(`r${run.get(i, "rmap_item")}`);
        break;
      case "ksm_start_scan":
        if (!detail) for (const one of trees.values()) if (one.name === "unstable") one.entries.clear();
        break;
      case "ksm_migrate_page": put(run.get(i, "stable_node"), run.get(i, "kpfn")); break;
      case "stable_node.listed": case "stable_node.misplaced":
        listed.set(run.get(i, "stable_node"), run.get(i, "kpfn"));
        put(run.get(i, "stable_node"), run.get(i, "kpfn"));
        if (!detail) for (const one of trees.values()) one.entries.delete(`n${run.get(i, "stable_node")}`);
        break;
      case "stable_node.unlisted": case "stable_node.freed": case "stable_node.collided": listed.delete(run.get(i, "stable_node")); break;
      case "ksm_remove_ksm_page":
        if (!detail) for (const [number, node] of nodes) if (node.kpfn === run.get(i, "pfn")) for (const one of trees.values()) one.entries.delete(`n${number}`);
        break;
      case "migrate_page":
        if (run.get(i, "err") === 0) for (const [number, held] of items) if (held === run.get(i, "old_pfn")) items.set(number, run.get(i, "pfn"));
        break;
    }
  }
  return { trees, nodes, items, listed, nids, apart: isApart(run, moment) };
}

/* Whether each node has trees of its own at a moment (merge_across_nodes is 0; it is 1 until it is written). */
function isApart(run, moment) {
  let value = "1";
  for (const i of run.named("sysfs.write")) if (i <= moment && run.get(i, "knob") === "merge_across_nodes" && run.get(i, "err") === 0) value = run.get(i, "value");
  return value === "0";
}

function nodesOf(run) {
  let nodes = 1;
  for (const lane of lanesOf(run)) nodes = Math.max(nodes, lane.node + 1);
  for (const i of run.named("run.start")) nodes = Math.max(nodes, run.get(i, "nodes") || 0);
  return Math.min(nodes, 64);
}

function pageOf(at, name) {
  const number = Number(name.slice(1)), pfn = name[0] === "n" ? (at.nodes.get(number) || {}).kpfn : at.items.get(number);
  return { pfn, nid: pfn === undefined || pfn < 0 ? -1 : at.nids.get(pfn) ?? Math.floor(pfn / 1e6) };
}

/* A shape such as `n3(r1,n2)` as {name, left, right}. */
function parsed(shape) {
  let at = 0;
  const one = () => {
    const start = at;
    while (at < shape.length && !"(,)".includes(shape[at])) at++;
    if (at === start) return null;
    const entry = { name: shape.slice(start, at), left: null, right: null };
    if (shape[at] === "(") {
      at++; entry.left = one();
      if (shape[at] === ",") at++;
      entry.right = one();
      if (shape[at] === ")") at++;
    }
    return entry;
  };
  return one();
}

function shapeAt(run, moment, name, nid) {
  let found;
  for (const [step, tree, index, shape] of run.shapes) {
    if (step > run.step[moment]) break;
    if (tree === name && index === nid) found = shape;
  }
  return found;
}

const BOX = { width: 112, height: 34, gap: 12, level: 58 };

function drawTree(run, moment, one, at, visited) {
  const names = [...one.entries], shape = shapeAt(run, moment, one.name, one.nid);
  const root = shape ? parsed(shape) : null, placed = [], edges = [];
  const inShape = new Set();
  const collect = (entry) => { if (entry) { inShape.add(entry.name); collect(entry.left); collect(entry.right); } };
  collect(root);
  if (root && names.every((name) => inShape.has(name)) && inShape.size === names.length) {
    let column = 0;
    const walk = (entry, depth) => {
      if (!entry) return null;
      const left = walk(entry.left, depth + 1), place = { name: entry.name, x: column++, y: depth }, right = walk(entry.right, depth + 1);
      placed.push(place);
      for (const child of [left, right]) if (child) edges.push([place, child]);
      return place;
    };
    walk(root, 0);
  } else names.forEach((name, n) => placed.push({ name, x: n % 3, y: Math.floor(n / 3) }));
  const title = `${one.name} tree of node ${one.nid}`;
  return h("div", { class: "tree" }, h("h3", {}, `${title}, ${names.length} ${names.length === 1 ? "entry" : "entries"}`), names.length ? boxes(run, placed, edges, at, one.nid, visited, title) : h("p", { class: "quiet" }, "empty"));
}

function boxes(run, placed, edges, at, home, visited, title) {
  const columns = Math.max(...placed.map((one) => one.x)) + 1, rows = Math.max(...placed.map((one) => one.y)) + 1;
  const x = (one) => one.x * (BOX.width + BOX.gap) + 4, y = (one) => one.y * BOX.level + 8;
  const picture = s("svg", { width: columns * (BOX.width + BOX.gap) + 8, height: rows * BOX.level, role: "img", "aria-label": title });
  for (const [a, b] of edges) picture.append(s("line", { class: "edge", x1: x(a) + BOX.width / 2, y1: y(a) + BOX.height, x2: x(b) + BOX.width / 2, y2: y(b) }));
  for (const one of placed) {
    const { pfn, nid } = pageOf(at, one.name), away = at.apart && home >= 0 && nid >= 0 && nid !== home, look = visited.indexOf(pfn);
    picture.append(s("rect", { x: x(one), y: y(one), width: BOX.width, height: BOX.height, rx: 4, fill: nodeColour(nid), stroke: colour("fore"), "stroke-width": away ? 2.5 : 1, "stroke-dasharray": away ? "4 3" : "none" }));
    if (look >= 0) picture.append(s("rect", { class: "ring", x: x(one) - 3, y: y(one) - 3, width: BOX.width + 6, height: BOX.height + 6, rx: 6 }));
    picture.append(s("text", { class: "on", x: x(one) + 5, y: y(one) + 14 }, `${one.name[0] === "n" ? "node" : "item"} ${one.name.slice(1)}${look >= 0 ? ` #${look + 1}` : ""}`));
    picture.append(s("text", { class: "on", x: x(one) + 5, y: y(one) + 28 }, pfn === undefined ? "" : `pfn ${pfn}${away ? " !" : ""}`));
  }
  return h("div", { class: "scroll" }, picture);
}

/* The pages that the search under way at a moment has looked at, in order. */
function visitedAt(run, moment) {
  const actor = run.actorName(moment), step = run.step[moment], number = run.actor[moment];
  let since = 0;
  for (let i = moment; i >= 0 && i > moment - 20000; i--) {
    if (run.actor[i] === number && run.name(i) === "function.entered" && ["scan_get_next_rmap_item", "ksm_do_scan"].includes(run.get(i, "function"))) { since = run.step[i]; break; }
  }
  const pages = [];
  for (const [at, name, , pfn] of run.looks) if (at > since && at <= step && name === actor && !pages.includes(pfn)) pages.push(pfn);
  return pages;
}

function drawTrees(run) {
  const moment = state.moment ?? run.count - 1, slider = document.getElementById("tree-moment");
  if (!run.count) { replace("trees", h("p", { class: "quiet" }, "no event")); return; }
  slider.max = String(run.count - 1);
  slider.value = String(moment);
  const at = treesAt(run, moment), visited = visitedAt(run, moment);
  replace("tree-where", `step ${run.step[moment]}, ${milliseconds(run.time[moment])}: ${run.actorName(moment)} ${run.name(moment)}`);
  const look = run.looks.filter(([step, actor]) => step <= run.step[moment] && actor === run.actorName(moment)).at(-1);
  replace("tree-look", visited.length && look ? `${look[1]} has compared ${visited.map((pfn) => `pfn ${pfn}`).join(", then ")} in this search, last in ${look[2]}` : run.looks.length ? "" : "Visits of searches and the shapes of trees are known where a finding is replayed.");
  const keys = [...at.trees.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.nid - b.nid));
  const list = [...at.listed.keys()].map((number, n) => ({ name: `n${number}`, x: n, y: 0 }));
  const legend = h("p", {}, Array.from({ length: nodesOf(run) }, (_, nid) => [s("svg", { width: 14, height: 14 }, s("rect", { width: 14, height: 14, fill: nodeColour(nid) })), ` page on node ${nid}\u2003`]), "dashed, with !: misplaced, the page is on another node than the tree's; thick frame, with #: visited by the search");
  replace("trees", h("div", {}, h("h3", {}, "colours"), legend), keys.map((one) => drawTree(run, moment, one, at, visited)),
    h("div", { class: "tree" }, h("h3", {}, `migrate_nodes, ${list.length}`), list.length ? boxes(run, list, [], at, -1, visited, "migrate_nodes") : h("p", { class: "quiet" }, "empty")));
}

const CHANGES = ["tree.inserted", "tree.erased", "tree.reset", "stable_tree_insert", "unstable_tree_search_insert", "ksm_migrate_page", "stable_node.listed", "stable_node.unlisted", "stable_node.misplaced", "stable_node.reslotted", "ksm_remove_ksm_page"];

function stepTree(direction) {
  const run = state.run, here = state.moment ?? run.count - 1, all = [...run.named(...CHANGES)];
  const next = direction > 0 ? all.find((i) => i > here) : all.filter((i) => i < here).at(-1);
  if (next !== undefined) select(next);
}

function stepLook(direction) {
  const run = state.run, here = state.moment ?? run.count - 1, step = run.step[here];
  const looks = run.looks.filter((look) => (direction > 0 ? look[0] > step : look[0] < step)), look = direction > 0 ? looks[0] : looks.at(-1);
  if (!look) return;
  let i = run.at(look[0]);
  while (i > 0 && run.actorName(i) !== look[1] && run.step[i] === run.step[i - 1]) i--;
  if (run.actorName(i) !== look[1]) { i = run.at(look[0]); while (i > 0 && run.actorName(i) !== look[1]) i--; }
  if (i === here) { i = Math.min(run.count - 1, Math.max(0, here + direction)); while (i > 0 && i < run.count - 1 && run.actorName(i) !== look[1]) i += direction; }
  select(i);
}

function startTrees() {
  document.getElementById("tree-back").addEventListener("click", () => stepTree(-1));
  document.getElementById("tree-next").addEventListener("click", () => stepTree(1));
  document.getElementById("look-back").addEventListener("click", () => stepLook(-1));
  document.getElementById("look-next").addEventListener("click", () => stepLook(1));
  document.getElementById("tree-moment").addEventListener("input", (event) => select(Number(event.target.value)));
  document.getElementById("page-pick").addEventListener("input", () => drawLife(state.run));
}

/* -- lives of pages ----------------------------------------------------------------------------------------------- */

/* Each life: the frames that a page lived in, and who mapped it, from event to event. */
function livesOf(run) {
  if (run.lives) return run.lives;
  const lives = [], inFrame = new Map(), mapped = new Map();
  const begin = (pfn, nid, i) => {
    const life = { frames: [{ pfn, nid, from: i, to: null }], maps: [], events: 0 };
    lives.push(life);
    inFrame.set(pfn, life);
    return life;
  };
  const of = (pfn, nid, i) => { const life = inFrame.get(pfn) || begin(pfn, nid, i); life.events++; return life; };
  const map = (pfn, nid, key, i) => {
    const life = of(pfn, nid, i);
    if (mapped.has(key)) mapped.get(key).to = i;
    const one = { key, pfn, from: i, to: null };
    life.maps.push(one);
    mapped.set(key, one);
  };
  for (let i = 0; i < run.count; i++) {
    const name = run.name(i), pfn = run.get(i, "pfn"), nid = run.get(i, "nid") ?? -1;
    const key = run.get(i, "address") === undefined ? "" : `${run.get(i, "mm")} 0x${run.get(i, "address").toString(16)}`;
    if (name === "migrate_page" && run.get(i, "err") === 0) {
      const life = of(run.get(i, "old_pfn"), -1, i), early = inFrame.get(pfn);
      if (early && early !== life) { life.maps.push(...early.maps); lives.splice(lives.indexOf(early), 1); }
      life.frames.at(-1).to = i;
      inFrame.delete(run.get(i, "old_pfn"));
      life.frames.push({ pfn, nid, from: i, to: null });
      inFrame.set(pfn, life);
    } else if (name === "free_page") {
      const life = inFrame.get(pfn);
      if (life) { life.frames.at(-1).to = i; inFrame.delete(pfn); }
    } else if (name === "page.mapped" || (!run.detail && name === "do_anonymous_page")) map(pfn, nid, key, i);
    else if (name === "page.unmapped") { if (mapped.has(key)) { mapped.get(key).to = i; mapped.delete(key); } }
    else for (const page of new Set(run.pages(i))) if (inFrame.has(page)) inFrame.get(page).events++;
  }
  run.lives = lives;
  return lives;
}

function fillPages(run) {
  const lives = livesOf(run).map((life, number) => [life, number]).sort((a, b) => b[0].frames.length - a[0].frames.length || b[0].maps.length - a[0].maps.length || a[1] - b[1]).slice(0, 500);
  replace("page-pick", lives.map(([life, number]) => h("option", { value: String(number) }, `pfn ${life.frames.map((frame) => frame.pfn).slice(0, 6).join(" \u2192 ")}${life.frames.length > 6 ? " \u2026" : ""}, from step ${run.step[life.frames[0].from]}`)));
}

function drawLife(run) {
  const lives = livesOf(run), life = lives[Number(document.getElementById("page-pick").value)];
  if (!life) { nothing("chart-page", "no page"); replace("page-events"); return; }
  const keys = [...new Set(life.maps.map((one) => one.key))].slice(0, 60), end = run.count - 1, data = [];
  const first = life.frames[0].from, last = Math.max(...life.frames.map((frame) => frame.to ?? end));
  for (const frame of life.frames) data.push({ value: [0, run.step[frame.from], run.step[frame.to ?? end], frame.from], colour: nodeColour(frame.nid), text: `pfn ${frame.pfn}` });
  for (const one of life.maps) if (keys.includes(one.key)) data.push({ value: [1 + keys.indexOf(one.key), run.step[one.from], run.step[one.to ?? end], one.from], colour: COLOUR.turn, text: "" });
  const rows = ["frame", ...keys], element = document.getElementById("chart-page");
  element.style.height = `${rows.length * 30 + 60}px`;
  const one = chart("chart-page");
  one.resize();
  one.setOption({
    ...base(), grid: { left: 150, right: 20, top: 8, bottom: 40 },
    xAxis: { type: "value", min: run.step[first], max: Math.max(run.step[last], run.step[first] + 1), name: "step", nameLocation: "middle", nameGap: 22, ...axisStyle(), axisLabel: { color: colour("quiet"), hideOverlap: true } },
    yAxis: { type: "category", inverse: true, data: rows.map((_, place) => String(place)), ...axisStyle(), axisLabel: { color: colour("fore"), width: 138, overflow: "truncate", formatter: (place) => rows[Number(place)] } },
    dataZoom: [{ type: "inside", filterMode: "none" }],
    series: [{ type: "custom", data: data.map(valueOf), encode: { x: [1, 2], y: 0 }, clip: true, renderItem: (params, api) => drawStrip(data[params.dataIndex], api) }],
  }, true);
  replace("page-said", `${life.frames.length} frame${life.frames.length === 1 ? "" : "s"}, mapped at ${keys.length} place${keys.length === 1 ? "" : "s"}; ${last === end ? "there at the end" : `freed at step ${run.step[last]}`}`);
  const pages = new Set(life.frames.map((frame) => frame.pfn)), rowsOf = [];
  for (let i = first; i <= last && rowsOf.length < 400; i++) if (DATA.kinds[run.kind[i]].mark !== MARK.none && run.pages(i).some((pfn) => pages.has(pfn))) rowsOf.push(i);
  replace("page-events", rowsOf.map((i) => eventRow(run, i, i === state.moment, () => select(i))));
}

function drawStrip(one, api) {
  const [row, from, to] = one.value, band = api.size([0, 1])[1], a = api.coord([from, row]), b = api.coord([to, row]);
  const width = Math.max(2, b[0] - a[0]), rect = { type: "rect", shape: { x: a[0], y: a[1] - band * 0.35, width, height: band * 0.7 }, style: { fill: one.colour, stroke: colour("back"), lineWidth: 1 } };
  if (!one.text || width < 50) return rect;
  return { type: "group", children: [rect, { type: "text", style: { text: one.text, x: a[0] + 4, y: a[1], verticalAlign: "middle", fill: "#000000", fontSize: 11 } }] };
}
