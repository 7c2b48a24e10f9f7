/* A finding: the interleaving as a sequence chart, what broke, what it looks like. */

const ROWS_MAX = 40, LINES_MAX = 5;

function drawFinding(run) {
  const finding = findingOf(run);
  if (!finding) { replace("finding", h("p", { class: "quiet" }, (DATA.findings || []).length ? "This schedule has no finding; choose another one above." : "No finding was given. `ksmactors report FINDING` replays one with every observer on.")); return; }
  const subject = finding.subject, options = [...subject.parameters.map((one) => `-p ${one}`), `--kernel ${subject.kernel}`, ...subject.without.map((slug) => `--without ${slug}`), ...subject.with.map((slug) => `--with ${slug}`)];
  const isShrunk = finding.departures !== undefined;
  replace("finding",
    verdictBlock(finding),
    finding.problem ? h("p", { class: "quiet" }, finding.problem) : null,
    h("h2", {}, isShrunk ? `The shrunk interleaving: ${finding.departures.length} of ${finding.of} departures from the default order` : "The interleaving as recorded"),
    isShrunk ? h("p", { class: "quiet" }, `${finding.tried} schedules tried${finding.stopped_by ? `, stopped by ${finding.stopped_by}` : ""}; ${finding.steps.toLocaleString("en")} steps left`) : null,
    isShrunk && finding.departures.length ? h("ol", {}, finding.departures.map((one) => h("li", {}, departureText(one)))) : null,
    sequence(run, finding),
    (finding.orders || []).length ? [h("h2", {}, "What made the difference"), h("ol", {}, finding.orders.map((order) => h("li", {}, order.sentence, order.share ? ` (${order.share})` : "")))] : null,
    h("h2", {}, "The promise that was broken"), h("p", {}, `${finding.watcher}: ${finding.promise || finding.kind}`), h("p", {}, finding.message),
    finding.cause ? h("p", {}, finding.cause) : null, finding.found ? h("p", {}, finding.found) : null,
    finding.story && finding.story.length ? [h("h2", {}, "Turn by turn"), h("ol", {}, finding.story.map((line) => h("li", {}, line)))] : null,
    (finding.cases || []).length ? [h("h2", {}, "It looks like"), finding.cases.map((one) => h("details", {}, h("summary", {}, `${one.name}: ${one.title}`), h("p", {}, one.story)))] : null,
    h("h2", {}, "To see it again"), h("p", { class: "quiet" }, `${subject.workload}, seed ${subject.seed}, ${subject.nodes} nodes, ${options.join(" ")}`),
    h("pre", {}, `ksmactors replay '${finding.schedule}'`));
}

/* The steps that matter, in order: [step, what they are, actor, kernel function, operation]. */
function keySteps(finding) {
  const broke = finding.broke || {}, steps = [];
  const add = (step, text) => { if (step) steps.push([step.step, text, step.actor, step.function, step.operation]); };
  (finding.met || []).forEach((step, place) => add(step, place ? "second" : "first"));
  add(broke.looked, "had looked");
  add(broke.by, "broke it");
  add(broke.came_back, "came back");
  steps.push([finding.step, "found", finding.actors[0], finding.functions[0], ""]);
  return steps.sort((a, b) => a[0] - b[0]);
}

/* The turns that are shown: those of the steps that matter, those beside them, those that touch the page, switches. */
function turnsThatMatter(run, finding) {
  const turns = (lanesOf(run), run.turns), wanted = new Map();
  const pages = pagesOf(finding);
  const want = (place, weight) => { if (place >= 0 && place < turns.length) wanted.set(place, Math.max(weight, wanted.get(place) || 0)); };
  const marked = new Map();
  for (const [step, text, actor, ...did] of keySteps(finding)) {
    let place = turns.findIndex((turn) => turn.lane.name === actor && turn.s0 <= step && turn.s1 >= step);
    if (place < 0) place = turns.findIndex((turn) => turn.s1 >= step);
    if (place < 0) place = turns.length - 1;
    if (!marked.has(place)) marked.set(place, []);
    marked.get(place).push([`>> ${text}, step ${step}`, true], ...did.filter(Boolean).map((part) => [`   ${part}`, false]));
    for (const [shift, weight] of [[0, 9], [-1, 5], [1, 5], [-2, 3]]) want(place + shift, weight);
  }
  turns.forEach((turn, place) => {
    if (turn.text === "switched") { want(place, 2); want(place + 1, 2); }
    for (let i = turn.from; i <= turn.to; i++) {
      if (run.actor[i] !== turn.lane.actor || DATA.kinds[run.kind[i]].mark < MARK.info) continue;
      if (run.pages(i).some((pfn) => pages.has(pfn))) { want(place, 4); break; }
    }
  });
  const chosen = [...wanted].sort((a, b) => b[1] - a[1] || b[0] - a[0]).slice(0, ROWS_MAX).map(([place]) => place).sort((a, b) => a - b);
  return { chosen, marked, pages };
}

/* What a turn says: events of a page first, then the functions it went through. */
function linesOf(run, turn, pages) {
  const events = [];
  for (let i = turn.from; i <= turn.to; i++) {
    if (run.actor[i] !== turn.lane.actor || DATA.kinds[run.kind[i]].mark < MARK.info) continue;
    const about = run.pages(i).filter((pfn) => pages.has(pfn));
    events.push([about.length ? 0 : 1, `${run.name(i)}${run.pages(i).length ? ` pfn ${run.pages(i)[0]}` : ""}`]);
  }
  const functions = [...new Set(functionsIn(run, turn.from, turn.to, turn.lane.actor))];
  const shown = functions.length > 4 ? [...functions.slice(0, 2), "\u2026", ...functions.slice(-2)] : functions;
  const chosen = events.sort((a, b) => a[0] - b[0]).slice(0, Math.max(1, LINES_MAX - Math.min(3, shown.length))).map(([, text]) => text);
  return [...shown.slice(0, LINES_MAX - chosen.length), ...chosen];
}

function sequence(run, finding) {
  const { chosen, marked, pages } = turnsThatMatter(run, finding);
  if (!chosen.length) return h("p", { class: "quiet" }, "no turn is known");
  const turns = run.turns, names = [...new Set(chosen.map((place) => turns[place].lane.name))];
  const width = 250, left = 64, locks = 260, line = 15, total = left + names.length * (width + 14) + locks;
  const picture = s("svg", { role: "img", "aria-label": "sequence of turns, one column an actor", width: total });
  names.forEach((name, n) => picture.append(s("text", { class: "strong", x: left + n * (width + 14) + 6, y: 16 }, short(name, 34))));
  picture.append(s("text", { class: "dim", x: 4, y: 16 }, "step"), s("text", { class: "dim", x: total - locks + 10, y: 16 }, "locks held at its end"));
  let y = 26, before = null;
  for (const place of chosen) {
    const turn = turns[place], column = names.indexOf(turn.lane.name), x = left + column * (width + 14), marks = marked.get(place) || [];
    if (before !== null && place - before.place > 1) { picture.append(s("text", { class: "dim", x: left, y: y + 12 }, `\u2026 ${place - before.place - 1} turn${place - before.place === 2 ? "" : "s"}`)); y += 20; }
    const held = turn.lane.holds.filter((hold) => hold.from < turn.to && hold.to > turn.to).map((hold) => hold.text);
    const lines = linesOf(run, turn, pages), height = Math.max(1, lines.length + marks.length, Math.min(4, held.length)) * line + 8;
    if (before !== null && before.column !== column) picture.append(s("path", { class: "edge", d: `M ${before.x + width / 2} ${before.bottom} V ${y - 4} H ${x + width / 2} V ${y}`, "marker-end": "none" }));
    const box = s("g", { class: "link", tabindex: 0, onclick: () => { select(turn.from); show("timeline"); } });
    box.append(s("rect", { class: marks.length ? "met" : "box", x, y, width, height, rx: 4 }));
    if (held.length) box.append(s("line", { class: "hold", x1: x + 2.5, y1: y + 2, x2: x + 2.5, y2: y + height - 2 }));
    marks.forEach(([text, strong], n) => box.append(s("text", { class: strong ? "strong" : "plain", x: x + 10, y: y + 15 + n * line, "xml:space": "preserve" }, short(text, 33))));
    lines.forEach((text, n) => box.append(s("text", { x: x + 10, y: y + 15 + (n + marks.length) * line }, short(text, 33))));
    picture.append(box, s("text", { class: "dim", x: 4, y: y + 15 }, String(turn.s0)), ...held.slice(0, 4).map((lock, n) => s("text", { class: "dim", x: total - locks + 10, y: y + 15 + n * line }, short(lock, 36))));
    before = { place, column, x, bottom: y + height };
    y += height + 10;
  }
  picture.setAttribute("height", String(y + 4));
  return h("div", { class: "scroll" }, picture);
}

function short(text, most) { return text.length > most ? `${text.slice(0, most - 1)}\u2026` : text; }
