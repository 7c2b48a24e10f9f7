/* The data of the page, unpacked: a schedule is a set of typed arrays, an event an index into them. */

const DATA = JSON.parse(document.getElementById("data").textContent);

const PAGE_FIELDS = new Set(["pfn", "kpfn", "old_pfn", "other_kpfn", "start_pfn"]);

/* What an event is drawn as, by rank: the higher one is seen where two are in one place. */
const MARK = { none: 0, info: 1, move: 2, race: 3, fault: 4, finding: 5 };

function markOf(name, level) {
  if (name.startsWith("finding.")) return MARK.finding;
  if (name.startsWith("fault.") || name === "ksm.warn") return MARK.fault;
  if (name.startsWith("race.")) return MARK.race;
  if (name === "migrate_page" || name === "ksm_migrate_page") return MARK.move;
  return level === "debug" || name.startsWith("run.") ? MARK.none : MARK.info;
}

for (const kind of DATA.kinds) {
  kind.mark = markOf(kind.name, kind.level);
  kind.at = new Map(kind.fields.map((name, place) => [name, place]));
}

/* A text's pages: "page lock of pfn 7", "reads kpfn/7" is a stable node and no page. */
const PAGES_OF_TEXT = DATA.texts.map((text) => Array.from(text.matchAll(/\bpfn (\d+)/g), (found) => Number(found[1])));

function running(deltas) {
  const sums = new Float64Array(deltas.length);
  let sum = 0;
  for (let i = 0; i < deltas.length; i++) sums[i] = sum += deltas[i];
  return sums;
}

/* How a schedule is called. */
function titleOf(raw) { return raw.title || `${raw.name}, seed ${raw.seed}${raw.found ? ", finding" : ""}${RUNS.some((one) => one.file !== raw.file) ? ` (${raw.file})` : ""}`; }

class Run {
  constructor(raw, number) {
    Object.assign(this, { number, raw, title: titleOf(raw), count: raw.kind.length });
    this.kind = Uint32Array.from(raw.kind);
    this.actor = Uint32Array.from(raw.actor);
    this.step = running(raw.step);
    this.time = running(raw.time);
    this.offset = new Uint32Array(this.count);
    let offset = 0;
    for (let i = 0; i < this.count; i++) {
      this.offset[i] = offset;
      offset += DATA.kinds[this.kind[i]].fields.length;
    }
    const last = this.count - 1;
    this.lastStep = this.count ? Math.max(1, this.step[last]) : 1;
    this.lastTime = this.count ? Math.max(1, this.time[last]) : 1;
    this.shapes = raw.shapes || [];
    this.looks = raw.looks || [];
  }

  name(i) { return DATA.kinds[this.kind[i]].name; }

  level(i) { return DATA.kinds[this.kind[i]].level; }

  actorName(i) { return DATA.actors[this.actor[i]][0]; }

  /* A field of an event; undefined if it has none of that name. */
  get(i, field) {
    const place = DATA.kinds[this.kind[i]].at.get(field);
    return place === undefined ? undefined : unpacked(this.raw.values[this.offset[i] + place]);
  }

  fields(i) {
    return DATA.kinds[this.kind[i]].fields.map((name, place) => [name, unpacked(this.raw.values[this.offset[i] + place])]);
  }

  /* The pages that an event is about. */
  pages(i) {
    const pages = [];
    DATA.kinds[this.kind[i]].fields.forEach((name, place) => {
      const value = this.raw.values[this.offset[i] + place];
      if (PAGE_FIELDS.has(name) && typeof value === "number" && value >= 0) pages.push(value);
      else if (typeof value === "number" && value < 0) pages.push(...PAGES_OF_TEXT[-1 - value]);
    });
    return pages;
  }

  /* The last event at or before a step; 0 if there is none. */
  at(step) { return Math.max(0, upper(this.step, step) - 1); }

  *named(...names) {
    const wanted = new Set(DATA.kinds.flatMap((kind, number) => (names.includes(kind.name) ? [number] : [])));
    if (wanted.size) for (let i = 0; i < this.count; i++) if (wanted.has(this.kind[i])) yield i;
  }
}

function unpacked(value) {
  if (typeof value === "string") return Number(value);
  return typeof value === "number" && value < 0 ? DATA.texts[-1 - value] : value;
}

/* The first place in a sorted array whose value is greater. */
function upper(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1; else high = middle;
  }
  return low;
}

const RUNS = DATA.runs.map((raw) => raw);
const unpackedRuns = new Map();

function runOf(number) {
  if (!unpackedRuns.has(number)) unpackedRuns.set(number, new Run(RUNS[number], number));
  return unpackedRuns.get(number);
}

/* Lanes that are shown at first; more can be. */
const LANES_SHOWN = 150;

/* Lanes: the actors of a schedule, by node and in order of appearance, each with its turns, holds and waits. */
function lanesOf(run) {
  if (run.lanes) return run.lanes;
  const seen = new Map();
  for (let i = 0; i < run.count; i++) {
    const number = run.actor[i];
    if (!seen.has(number)) seen.set(number, { actor: number, name: DATA.actors[number][0], node: DATA.actors[number][1], cpu: DATA.actors[number][2], turns: [], holds: [], waits: [], hidden: false });
  }
  const lanes = [...seen.values()];
  lanes.sort((a, b) => a.node - b.node);
  lanes.forEach((lane, place) => { lane.hidden = place >= LANES_SHOWN; });
  const byActor = new Map(lanes.map((lane) => [lane.actor, lane]));
  const byName = new Map();
  for (const lane of lanes) if (!byName.has(lane.name)) byName.set(lane.name, lane);
  run.lanes = lanes;
  run.laneOfActor = byActor;
  run.laneOfName = byName;
  fillTurns(run);
  fillLocks(run);
  return lanes;
}

/* A bar: [first event, last event, step and time from, step and time to, what it says]. */
function bar(run, from, to, text) {
  return { from, to, s0: run.step[from], s1: run.step[to], t0: run.time[from], t1: run.time[to], text };
}

function fillTurns(run) {
  const passes = [...run.named("turn.passed")];
  run.detail = passes.length > 0;
  run.turns = [];
  const close = (lane, from, to, why) => {
    const turn = bar(run, from, to, why);
    turn.lane = lane;
    lane.turns.push(turn);
    run.turns.push(turn);
  };
  if (run.detail) {
    let from = 0;
    for (const i of passes) {
      close(run.laneOfActor.get(run.actor[i]), from, i, run.get(i, "why"));
      from = i;
    }
    if (run.count) close(run.laneOfActor.get(run.actor[run.count - 1]), from, run.count - 1, "ended");
    return;
  }
  for (let from = 0, i = 1; i <= run.count; i++) {
    if (i === run.count || run.actor[i] !== run.actor[from]) {
      close(run.laneOfActor.get(run.actor[from]), from, i - 1, "");
      from = i;
    }
  }
}

function fillLocks(run) {
  const held = new Map(), waiting = new Map(), released = new Map();
  run.arrows = [];
  const arrow = (kind, from, laneFrom, to, laneTo, text) => {
    if (laneFrom && laneTo && laneFrom !== laneTo) run.arrows.push({ kind, from, to, laneFrom, laneTo, text });
  };
  for (const i of run.named("lock.acquired", "lock.released", "actor.blocked", "actor.woken")) {
    const name = run.name(i), lane = run.laneOfActor.get(run.actor[i]);
    const lock = run.get(i, "lock"), key = `${run.actor[i]} ${lock}`;
    if (name === "lock.acquired") {
      held.set(key, i);
      const giver = run.get(i, "handed_by");
      if (giver) arrow("lock", released.get(lock) ?? i, run.laneOfName.get(giver), i, lane, `${lock} from ${giver}`);
    } else if (name === "lock.released") {
      released.set(lock, i);
      if (held.has(key)) lane.holds.push(bar(run, held.get(key), i, lock));
      held.delete(key);
    } else if (name === "actor.blocked") {
      waiting.set(lane.name, i);
    } else {
      const woken = run.laneOfName.get(run.get(i, "woken")), waker = run.get(i, "waker"), object = run.get(i, "object");
      if (woken && waiting.has(woken.name)) woken.waits.push(bar(run, waiting.get(woken.name), i, object));
      if (woken) waiting.delete(woken.name);
      if (woken && waker) arrow(/^(mail|an answer)/.test(String(object)) ? "mail" : "wake", i, run.laneOfName.get(waker), i, woken, `${waker} wakes ${woken.name}: ${object}`);
    }
  }
  const end = run.count - 1;
  for (const [key, i] of held) run.laneOfActor.get(Number(key.split(" ", 1)[0])).holds.push(bar(run, i, end, run.get(i, "lock")));
  for (const [name, i] of waiting) run.laneOfName.get(name).waits.push(bar(run, i, end, run.get(i, "object")));
  for (const lane of run.lanes) {
    lane.holds.sort((a, b) => a.from - b.from);
    lane.waits.sort((a, b) => a.from - b.from);
  }
}
