// The web cluster: puts dials, lamps and figures on the page and keeps them up to date.
import { Dial } from "./dial.js";
import { Freshness } from "./freshness.js";
import { listen } from "./stream.js";
import { Strip } from "./strip.js";
import { Wall } from "./wall.js";
import { clock, figure, percent, short, sources, span } from "./words.js";

const LOST_MS = 1500; // a stream that comes back sooner was never away
const ALL = "all"; // the machines side by side, above what a fleet adds up
const CONNECTING = "connecting"; // for the first moments, before anything can be stale
const options = new URLSearchParams(location.search);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const theme = options.get("theme");
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;

const seconds = () => Date.now() / 1000;
const field = (name) => document.querySelector(`[data-field="${name}"]`);
let scales, drawn, node, newest, dials, wall, lamps, strip, before;

async function begin() {
  try {
    const answer = await fetch("scales");
    if (!answer.ok) throw new Error(answer.status);
    drawn = await answer.text();
    scales = JSON.parse(drawn);
  } catch {
    document.getElementById("state").textContent = "publisher does not answer, trying again";
    setTimeout(begin, 2000);
    return;
  }
  node = options.get("node") || (scales.node ?? ALL); // a display has no node of its own
  newest = new Freshness(scales.silence_s);
  dials = scales.gauges.map((gauge) => new Dial(gauge, scales.movement));
  document.getElementById("gauges").replaceChildren(...dials.map((dial) => dial.element));
  lamps = scales.lamps.map(makeLamp);
  document.getElementById("lamps").replaceChildren(...lamps.map((lamp) => lamp.element));
  strip = new Strip(scales.gauges[1]);
  document.querySelector("#strip .paper").replaceChildren(strip.paper);
  strip.draw();
  show();
  listenToNode();
  if (node === ALL) {
    wall = new Wall(document.getElementById("wall"), scales);
    listen("nodes/events", (kind, data, late) => {
      if (kind === "node") wall.take(data, late);
      show();
    });
  }
  offerNodes();
  setInterval(show, 1000);
  document.addEventListener("visibilitychange", show);
}

function listenToNode() {
  let age = 0, lost;
  const take = (kind, data) => {
    if (kind === "age") age = Number(data);
    else if (kind === "status") newest.status = data;
    else if (kind === "scales") redraw();
    else if (kind === "open") {
      clearTimeout(lost);
      lost = undefined;
      newest.trouble = "";
      remember();
      redraw(); // another publisher may answer now
    } else if (kind === "lost") {
      lost ??= setTimeout(() => {
        newest.trouble = "publisher lost, connecting again";
        show();
      }, LOST_MS);
    } else if (newest.payload(data, seconds(), age)) {
      age = 0;
      note();
    }
    show();
  };
  setInterval(() => document.hidden || lost || remember(), 60_000);
  listen(`events${asked()}`, take);
}

// The query that asks the server for this page's node; its own needs none.
function asked() {
  return node === scales.node ? "" : `?node=${encodeURIComponent(node)}`;
}

// Begin again where the dials' scales are no longer those that were drawn: somebody set another redline.
async function redraw() {
  try {
    const answer = await fetch("scales");
    if (answer.ok && await answer.text() !== drawn) location.reload();
  } catch {
    // the stream comes back, and it is asked again
  }
}

async function remember() {
  try {
    const memory = await (await fetch(`history${asked()}`)).json();
    strip.slice_s = memory.slice_s;
    strip.seed(memory.slices, seconds());
    show();
  } catch {
    // the strip goes on with what comes
  }
}

// Offer the machines that the server hears of, where there is more than one.
async function offerNodes(waits = [2_000, 5_000, 20_000]) {
  try {
    const nodes = (await (await fetch("nodes")).json()).nodes.map((each) => each.node);
    const names = [...new Set([node, ...nodes])].filter((name) => name && name !== ALL).sort();
    const menu = document.getElementById("node"), place = document.getElementById("choose");
    const wanted = names.length > 1 || node === ALL ? [...names, ALL] : [];
    if (wanted.join() !== [...menu.options].map((each) => each.value).join())
      menu.replaceChildren(...wanted.map((name) => new Option(name === ALL ? "all side by side" : name, name, false, name === node)));
    menu.value = node;
    place.hidden = !wanted.length;
    field("node").hidden = !place.hidden;
    menu.onchange = () => {
      options.set("node", menu.value);
      location.search = options;
    };
  } catch {
    // it is asked for again
  }
  setTimeout(offerNodes, waits[0] ?? 60_000, waits.slice(1)); // soon at first: what a broker keeps comes in a moment
}

// Put the newest figures onto the strip.
function note() {
  const rate = newest.stale(seconds()) ? null : figure(newest.usage, "rate_1m");
  if (rate !== null) strip.add(rate, newest.usage.fuel_source ? newest.usage.window_5h_pct : null, seconds());
}

function makeLamp(lamp) {
  const element = document.createElement("li");
  element.dataset.field = lamp.field;
  const legend = document.createElement("span"), state = document.createElement("span");
  legend.className = "legend";
  state.className = "hearable";
  element.append(legend, state);
  return { ...lamp, element, legend, state };
}

function small(text) {
  const element = document.createElement("small");
  element.textContent = text;
  return element;
}

function shine(lamp, usage) {
  const on = usage ? usage[lamp.field] : lamp.field === "stall";
  const family = lamp.field === "last_model" && on ? String(on) : "";
  if (lamp.shown !== family) lamp.legend.replaceChildren(...(family ? [small(lamp.name), family.toUpperCase()] : [lamp.name]));
  lamp.shown = family;
  lamp.state.textContent = family ? "" : on ? " on" : " off";
  lamp.element.classList.toggle("on", Boolean(on));
  lamp.element.classList.toggle("pulse", Boolean(on && lamp.pulse));
  lamp.element.style.setProperty("--shine", family && Object.hasOwn(lamp.families, family) ? lamp.families[family] : lamp.colour);
}

function show() {
  const why = newest.stale(seconds());
  const alone = node === ALL && !newest.usage; // no fleet adds them up: the machines stand for themselves
  const live = wall?.show();
  const walled = alone && live && !newest.trouble;
  showState(walled ? "" : why, live);
  if (document.hidden) return; // nobody sees the needles, but the tab's title is seen
  const usage = why ? null : newest.usage;
  document.getElementById("wall").hidden = !wall?.cards.size;
  document.getElementById("cluster").hidden = Boolean(alone && wall?.cards.size);
  document.documentElement.toggleAttribute("data-stale", Boolean(why && !walled));
  for (const dial of dials) dial.show(figure(usage, dial.gauge.field));
  for (const lamp of lamps) shine(lamp, usage);
  write(newest.usage ?? {}, usage);
  move();
}

function showState(why, live) {
  const since = newest.usage ? ` · last received ${clock(newest.usage.updated_at)}` : "";
  const band = document.getElementById("stale");
  const text = why ? `Stale: ${why}${since}` : "";
  if (band.textContent !== text) band.textContent = text;
  band.hidden = !why || why === CONNECTING;
  const state = document.getElementById("state"), word = why ? "not live" : "live";
  if (state.textContent !== word) state.textContent = word;
  const known = !why && newest.usage;
  const used = figure(known, "window_5h_pct"), rate = figure(known, "rate_1m");
  const figures = `${used === null ? "—" : percent(used)} · ${rate === null ? "—" : short(rate)}/min`;
  const title = why ? "STALE" : known ? figures : `${live} live`;
  document.title = `${known && known.waiting ? "⏳ " : ""}${title} · claude-gauge`;
  const icon = document.querySelector("link[rel=icon]"), href = `state.svg?show=${used === null ? "" : Math.floor(used * 100 + 0.5)}`;
  if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
  const said = document.getElementById("said");
  const words = known ? [known.waiting && "Claude waits for you", known.limit_before_reset && "the limit comes before the reset"].filter(Boolean).join(", ") : "";
  if (said.textContent !== words) said.textContent = words;
}

function write(usage, live) {
  const put = (name, text, alarm = false) => {
    const place = field(name);
    if (place.textContent !== text) place.textContent = text;
    place.classList.toggle("alarm", alarm);
  };
  const until = usage.window_5h_resets_at ? (Date.parse(usage.window_5h_resets_at) / 1000 - seconds()) / 60 : NaN;
  const known = (test, text) => test ? text : "—";
  put("node", String(usage.node ?? node));
  put("window_5h_tokens", known(figure(usage, "window_5h_tokens") !== null, `${short(usage.window_5h_tokens)} tokens`));
  put("window_5h_resets_at", known(until > 0, span(until)));
  put("minutes_to_limit", known(Number.isFinite(usage.minutes_to_limit), `${span(usage.minutes_to_limit)}${usage.limit_before_reset ? ", before the reset" : ""}`), usage.limit_before_reset === true);
  const week = usage.window_7d_resets_at ? (Date.parse(usage.window_7d_resets_at) / 1000 - seconds()) / 60 : NaN;
  put("window_7d_pct", Number.isFinite(usage.window_7d_pct) ? percent(usage.window_7d_pct) + (week > 0 ? `, ${span(week)} left` : "") : known(Number.isFinite(usage.window_7d_tokens), `${short(usage.window_7d_tokens)} tokens`));
  put("fuel_source", known(usage.fuel_source, usage.fuel_source === "plan" ? "the plan" : "ceiling"));
  put("updated_at", known(usage.updated_at, clock(usage.updated_at)));
  const [from, unwell] = sources(usage.sources);
  put("sources", known(from, from), unwell);
  const limit = Number.isFinite(usage.limit_pct);
  put("limit_pct", known(limit, `${String(usage.limit_name ?? "").replaceAll("_", " ")} ${percent(usage.limit_pct)}`.trim()), limit && usage.limit_pct >= 1);
  field("waiting").hidden = !live?.waiting;
  const text = strip.text;
  if (document.getElementById("strip-text").textContent !== text) document.getElementById("strip-text").textContent = text;
}

// Let the needles move until all of them rest; nothing runs while nothing moves.
function move() {
  before ??= requestAnimationFrame((first) => step(first, first));
}

function step(previous, now) {
  let moving = false;
  for (const dial of [...dials, ...(wall?.dials ?? [])]) {
    if (still.matches) dial.needle.jump();
    else moving = dial.needle.advance(Math.min(now - previous, 50) * 1000) || moving;
    dial.turn();
  }
  before = moving ? requestAnimationFrame((next) => step(now, next)) : undefined;
}

begin();
