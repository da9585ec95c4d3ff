/** Draws what an answer says of itself: badges, a sentence, a waterfall; and keeps the list of all answers. */

import { duration, many, number } from "./words.js";

/** The most answers the list keeps. */
const KEPT = 40;
const STORES = { pg: "PostgreSQL", redis: "Redis" };
/** What the last answer that came from its service took, by call. */
const lastMiss = new Map();
const byGateway = new Map();
const byCache = new Map();

/** An element with a class and children, which are text or elements. */
export function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** What a screen reader says and an eye sees anyway. */
const aside = (text) => make("span", "unseen", text);

/** "gateway-2" has the colour 2, whatever instance has it. */
function colour(gateway) {
  const digits = /(\d+)$/.exec(gateway ?? "");
  return digits ? String((Number(digits[1]) - 1) % 6 + 1) : "0";
}

export function badges(answer) {
  const list = make("p", "badges");
  const status = make("span", "badge", aside("Status "), answer.status ? String(answer.status) : "no answer");
  status.dataset.status = answer.ok ? "good" : "bad";
  list.append(status);
  if (answer.replayed) list.append(" ", Object.assign(make("span", "badge", "replayed"), { title: "Idempotency-Replayed: true" }));
  if (answer.gateway) {
    const badge = make("span", "badge", aside("Answered by "), answer.gateway);
    badge.dataset.gateway = colour(answer.gateway);
    list.append(" ", badge);
  }
  if (answer.cache) {
    const age = answer.age === null ? "" : answer.age < 1 ? ", under 1 s old" : `, ${answer.age} s old`;
    const badge = make("span", "badge", aside("Cache: "), make("b", "", answer.cache), age);
    badge.dataset.cache = answer.cache;
    list.append(" ", badge);
  }
  list.append(" ", make("span", "took", aside("Took "), duration(answer.elapsed)));
  return list;
}

/** What happened on the way, in one sentence. */
function story(answer) {
  const took = (name) => answer.hops.find((hop) => hop.name === name);
  const store = took("pg");
  const call = `${answer.method} ${answer.path}`;
  if (answer.replayed) return "This key was known: the stored answer came again, and nothing was done twice.";
  if (!answer.ok || !answer.gateway) return null;
  switch (answer.cache) {
    case "HIT": {
      const where = took("cache") ? "The cache had a copy" : `${answer.gateway} still had a copy in its own memory`;
      const before = lastMiss.get(call);
      const gain = before && answer.elapsed > 0 ? before / answer.elapsed : 0;
      const compared = gain >= 1.5 ? ` ${gain < 10 ? gain.toFixed(1) : Math.round(gain)} times quicker than without.` : "";
      return `${where}; no service and no database were asked.${compared}`;
    }
    case "MISS":
      lastMiss.set(call, answer.elapsed);
      return store ? `No copy was there: PostgreSQL was asked for ${duration(store.took)}, and the cache keeps the answer.` : "No copy was there: the service was asked, and the cache keeps its answer.";
    case "STALE":
      return "A copy past its time: a new one is being made, or its service is away.";
    case "BYPASS":
      if (answer.method !== "GET") {
        const forgot = took("cache") ? ", then the cache forgot what it changed" : "";
        return store ? `A write: committed in PostgreSQL in ${duration(store.took)}${forgot}.` : "A write: never cached.";
      }
      return store ? `Never cached: PostgreSQL was asked for ${duration(store.took)}.` : "Never cached.";
    default:
      return null;
  }
}

/** Where each hop begins and what it took, in shares of the whole. */
export function layOut(hops, elapsed) {
  const whole = Math.max(elapsed, ...hops.map((hop) => hop.took), 0.001);
  let outer = { start: 0, took: whole };
  const rows = [{ name: "browser", start: 0, took: whole }];
  for (const hop of hops) {
    if (Number.isFinite(hop.start)) continue;
    // Nobody measures when an outer hop began: half of what is left goes before it.
    const start = outer.start + Math.max(0, outer.took - hop.took) / 2;
    outer = { ...hop, start };
    rows.push(outer);
  }
  const inner = hops.filter((hop) => Number.isFinite(hop.start)).sort((one, other) => one.start - other.start);
  for (const hop of inner) rows.push({ ...hop, start: Math.min(outer.start + hop.start, whole) });
  return rows.map(({ name, start, took }) => ({ name, took, from: start / whole, share: Math.min(took, whole - start) / whole }));
}

export function waterfall(answer) {
  const list = make("ol", "waterfall");
  list.setAttribute("aria-label", "Hops");
  for (const { name, took, from, share } of layOut(answer.hops, answer.elapsed)) {
    const bar = make("span", "bar");
    bar.dataset.hop = ["browser", "balancer", "gateway", "cache", "redis", "pg"].includes(name) ? name : "service";
    bar.style.setProperty("--from", `${(from * 100).toFixed(2)}%`);
    bar.style.setProperty("--share", `${(share * 100).toFixed(2)}%`);
    const track = make("span", "track", bar);
    track.setAttribute("aria-hidden", "true");
    list.append(make("li", "", make("span", "hop", STORES[name] ?? name), track, " ", make("span", "took", duration(took))));
  }
  return list;
}

/** Puts the whole account of an answer into a place. */
export function showWay(place, answer) {
  const said = story(answer);
  place.replaceChildren(badges(answer));
  if (said) place.append(make("p", "story", said));
  if (answer.hops.length) place.append(waterfall(answer));
  else if (answer.requestId) place.append(make("p", "story", `Request ${answer.requestId}`));
  place.hidden = false;
}

const count = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);

function showShares(list, map, attribute) {
  const whole = [...map.values()].reduce((sum, each) => sum + each, 0);
  const rows = [...map].sort(([one], [other]) => one.localeCompare(other));
  list.replaceChildren(...rows.map(([name, times]) => {
    const bar = make("span", "bar");
    bar.dataset[attribute] = attribute === "gateway" ? colour(name) : name;
    bar.style.setProperty("--from", "0%");
    bar.style.setProperty("--share", `${(times / whole * 100).toFixed(1)}%`);
    const track = make("span", "track", bar);
    track.setAttribute("aria-hidden", "true");
    return make("li", "", make("span", "hop", name), track, " ", make("span", "took", number(times), aside(times === 1 ? " answer" : " answers")));
  }));
}

/** Adds an answer to the list and to the shares. */
export function record(answer) {
  const list = document.getElementById("answers");
  document.getElementById("none").hidden = true;
  if (answer.gateway) count(byGateway, answer.gateway);
  if (answer.cache) count(byCache, answer.cache);
  document.getElementById("shares").hidden = byGateway.size === 0;
  showShares(document.getElementById("by-gateway"), byGateway, "gateway");
  showShares(document.getElementById("by-cache"), byCache, "cache");
  const summary = make("summary", "", make("span", "call", make("b", "", answer.method), " ", answer.path), badges(answer));
  const entry = make("details", "", summary);
  if (answer.hops.length) entry.append(waterfall(answer));
  if (answer.requestId) entry.append(make("p", "story", `Request ${answer.requestId}`));
  list.prepend(make("li", "", entry));
  while (list.children.length > KEPT) list.lastElementChild.remove();
  list.setAttribute("aria-label", `The last ${many(list.children.length, "answer")}, the newest first`);
}
