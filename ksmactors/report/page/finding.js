/* A finding: the interleaving as a sequence chart, what broke, what it looks like. */

const COLUMN = 300, LEFT = 64, LOCKS = 300, LINE = 15, CHARACTERS = 37, LOCKS_MAX = 6;

function drawFinding(run) {
  const finding = findingOf(run);
  if (!finding) { replace("finding", h("p", { class: "quiet" }, (DATA.findings || []).length ? "This schedule has no finding; choose another one above." : "No finding was given. `ksmactors report FINDING` replays one with every observer on.")); return; }
  const subject = finding.subject, options = [...subject.parameters.map((one) => `-p ${one}`), `--kernel ${subject.kernel}`, ...subject.without.map((slug) => `--without ${slug}`), ...subject.with.map((slug) => `--with ${slug}`)];
  const isShrunk = finding.departures !== undefined;
  replace("finding",
    verdictBlock(finding),
    finding.problem ? h("p", { class: "quiet" }, finding.problem) : null,
    h("h2", {}, isShrunk ? `The shrunk interleaving: ${finding.departures.length} of ${quantity(finding.of, "departure")} from the default order` : "The interleaving as recorded"),
    isShrunk ? h("p", { class: "quiet" }, `${quantity(finding.tried, "schedule")} tried${finding.stopped_by ? `, stopped by ${finding.stopped_by}` : ""}; ${quantity(finding.steps, "step")} left`) : null,
    isShrunk && finding.departures.length ? h("ol", {}, finding.departures.map((one) => h("li", {}, departureText(one)))) : null,
    sequence(run, finding),
    (finding.orders || []).length ? [h("h2", {}, "What made the difference"), h("ol", {}, finding.orders.map((order) => h("li", {}, order.sentence, order.share ? ` (${order.share})` : "")))] : null,
    h("h2", {}, "The promise that was broken"), h("p", {}, `${finding.watcher}: ${finding.promise || finding.kind}`), h("p", {}, finding.message),
    finding.cause ? h("p", {}, finding.cause) : null, finding.found ? h("p", {}, finding.found) : null,
    finding.story && finding.story.length ? [h("h2", {}, "Turn by turn"), h("ol", {}, finding.story.map((line) => h("li", {}, line)))] : null,
    (finding.cases || []).length ? [h("h2", {}, "It looks like"), finding.cases.map((one) => h("details", {}, h("summary", {}, `${one.name}: ${one.title}`), h("p", {}, one.story)))] : null,
    (finding.symptoms || []).length ? [h("h2", {}, "It has the symptom of, maybe by another cause"), finding.symptoms.map((one) => h("p", {}, `${one.name}: ${one.title}`))] : null,
    h("h2", {}, "To see it again"), h("p", { class: "quiet" }, `${subject.workload}, seed ${subject.seed}, ${subject.nodes} nodes, ${options.join(" ")}`),
    h("pre", {}, `ksmactors replay '${finding.schedule}'`));
}

/* What a turn says: kernel functions, below each its operations with what is known about them; then why it ends. */
function linesOf(row) {
  const lines = [];
  let before = null;
  for (const done of row.operations) {
    if (done.function && done.function !== before) lines.push([`${done.function}:`, "plain"]);
    before = done.function;
    lines.push([`${done.met ? ">> " : "   "}${done.operation}`, done.marks.length ? "strong" : "plain"]);
    if (done.marks.length) lines.push([`   ${done.marks.join(", ")}: step ${done.step}`, "plain"]);
  }
  if (row.left_out) lines.push([`${row.left_out} other operation${row.left_out === 1 ? "" : "s"}`, "dim"]);
  if (row.end) lines.push([row.end, row.departure || row.found ? "strong" : "plain"]);
  return lines;
}

/* What happened to an object: the facts that changed, or all of them. */
function saidOf(change) {
  const facts = change.facts.map((fact) => {
    const after = fact.after || "no more", said = !fact.before || fact.before === fact.after ? after : `${fact.before} \u2192 ${after}`;
    return fact.name === "place" ? said : `${fact.name} ${said}`;
  });
  return `${change.object}: ${facts.join(", ")}`;
}

/* The rows that `replay --explain` shows, as a chart. */
function sequence(run, finding) {
  const table = finding.table;
  if (!table || !table.rows.length) return h("p", { class: "quiet" }, "no turn is known");
  const names = table.actors, total = LEFT + names.length * COLUMN + LOCKS, width = COLUMN - 14;
  const picture = s("svg", { role: "img", "aria-label": "sequence of turns, one column an actor", width: total });
  const put = (text, x, y, kind) => picture.append(s("text", { class: kind, x, y }, text));
  names.forEach((name, n) => put(short(name, CHARACTERS), LEFT + n * COLUMN + 6, 16, "strong"));
  put("step", 4, 16, "dim");
  put("locks held at its end", total - LOCKS + 10, 16, "dim");
  let y = 26, before = null;
  for (const row of table.rows) {
    if (row.turns !== undefined) {
      put(`\u2026 ${row.turns} turn${row.turns === 1 ? "" : "s"} by ${short(row.actors.join(", "), 80)}`, LEFT, y + 12, "dim");
      y += 20;
    } else {
      if (row.given_by) { put(`departure ${row.given_by} of ${table.departures}: ${row.actor} gets the turn`, LEFT, y + 12, "strong"); y += 20; }
      const column = names.indexOf(row.actor), x = LEFT + column * COLUMN, lines = linesOf(row);
      const held = Object.entries(row.held).flatMap(([name, locks]) => locks.map((lock) => `${name}: ${lock}`)).slice(0, LOCKS_MAX);
      const height = Math.max(1, lines.length, held.length) * LINE + 8;
      if (before && before.column !== column) picture.append(s("path", { class: "edge", d: `M ${before.x + width / 2} ${before.bottom} V ${y - 4} H ${x + width / 2} V ${y}` }));
      const last = row.operations[row.operations.length - 1];
      const box = s("g", { class: "link", tabindex: 0, onclick: () => { select(run.at(last ? last.step : row.first_step)); show("timeline"); } });
      box.append(s("rect", { class: row.found || row.operations.some((done) => done.marks.length) ? "met" : "box", x, y, width, height, rx: 4 }));
      if (row.held[row.actor]) box.append(s("line", { class: "hold", x1: x + 2.5, y1: y + 2, x2: x + 2.5, y2: y + height - 2 }));
      lines.forEach(([text, kind], n) => box.append(s("text", { class: kind, x: x + 10, y: y + 15 + n * LINE }, short(text, CHARACTERS))));
      picture.append(box);
      put(String(row.first_step), 4, y + 15, "dim");
      held.forEach((lock, n) => put(short(lock, 38), total - LOCKS + 10, y + 15 + n * LINE, "dim"));
      before = { column, x, bottom: y + height };
      y += height + 10;
    }
    for (const change of row.changes) { put(short(saidOf(change), Math.floor((total - LEFT) / 7.4)), LEFT + 10, y + 6, "state"); y += LINE; }
    y += row.changes.length ? 6 : 0;
  }
  if (table.end) { put(table.end, LEFT, y + 12, "strong"); y += 20; }
  picture.setAttribute("height", String(y + 4));
  return h("div", { class: "scroll" }, picture);
}

function short(text, most) { return text.length > most ? `${text.slice(0, most - 1)}\u2026` : text; }
