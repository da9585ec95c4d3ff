"use strict";

/** The most answers the table keeps. */
const KEPT = 50;
const pesos = new Intl.NumberFormat("es-CO", { style: "currency", currency: "COP", maximumFractionDigits: 0 });
const byId = (id) => document.getElementById(id);

let token = null;
let lastRecharge = null;
let olderHistory = null;

/** How often, and how many milliseconds apart, a booking's notification is looked for. */
const LOOKS = 40;
const LOOK_INTERVAL = 250;

/** What the words of `X-Cache` mean to a reader; a bypass says nothing. */
const SOURCES = { HIT: "from the cache", STALE: "from the cache, past its time", MISS: "read anew" };

/** A key nobody else has; randomUUID is there on loopback and https only. */
function uniqueKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** "gateway;dur=1.2, pg;dur=0.4" as pairs of a name and milliseconds. */
function readTiming(header) {
  return (header ?? "").split(",").map((entry) => {
    const [name, ...parameters] = entry.trim().split(";");
    const duration = parameters.map((parameter) => parameter.trim()).find((parameter) => parameter.startsWith("dur="));
    return [name, duration ? Number(duration.slice(4)) : 0];
  }).filter(([name]) => name);
}

/** One call: its answer goes into the table, unless it is one of many looks, and back to the caller. */
async function call(method, path, { json, form, key, look = false } = {}) {
  const headers = { accept: "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  if (key) headers["idempotency-key"] = key;
  if (json) headers["content-type"] = "application/json";
  const started = performance.now();
  try {
    const response = await fetch(path, { method, headers, body: json ? JSON.stringify(json) : form });
    const elapsed = performance.now() - started;
    const text = await response.text();
    let body;
    try { body = JSON.parse(text); } catch { body = { detail: text }; }
    const cache = response.headers.get("x-cache");
    const age = response.headers.get("age");
    if (!look) record([
      `${method} ${path}`,
      response.headers.get("idempotency-replayed") ? `${response.status} replayed` : response.status,
      response.headers.get("x-gateway") ?? "–",
      cache ? (age ? `${cache}, ${age} s old` : cache) : "–",
      elapsed.toFixed(1),
      readTiming(response.headers.get("server-timing")).map(([name, duration]) => `${name} ${duration.toFixed(1)}`).join(" · ") || "–",
      response.headers.get("x-request-id") ?? "–",
    ], !response.ok);
    if (response.status === 401 && token) setToken(null, "The session is over: log in again", true);
    return { ok: response.ok, status: response.status, body, source: SOURCES[cache] };
  } catch {
    record([`${method} ${path}`, "no answer", "–", "–", (performance.now() - started).toFixed(1), "–", "–"], true);
    return { ok: false, status: 0, body: { detail: "The balancer does not answer" } };
  }
}

function record(cells, failed) {
  const row = document.createElement("tr");
  cells.forEach((cell, index) => {
    const data = document.createElement("td");
    data.textContent = cell;
    if (index === 0) data.title = cell;
    if (failed && index === 1) data.className = "failed";
    row.append(data);
  });
  const answers = byId("answers");
  answers.prepend(row);
  while (answers.children.length > KEPT) answers.lastElementChild.remove();
}

function setToken(value, said, failed = false) {
  token = value;
  byId("logout").hidden = !value;
  byId("who").textContent = said;
  byId("who").className = failed ? "failed" : "";
}

/** Shows an outcome inside its form, with a badge for where it came from. */
function show(output, { text, failed, source }) {
  output.replaceChildren(text);
  output.className = failed ? "failed" : "";
  if (!source) return;
  const badge = document.createElement("span");
  badge.className = "badge";
  badge.textContent = source;
  output.prepend(badge, "\n");
}

/** Runs a form's call and shows its outcome inside the form. */
function onSubmit(id, run) {
  const form = byId(id);
  const output = form.querySelector("output");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    // The button stays enabled, or it would lose the keyboard's focus; a second press meanwhile does nothing.
    if (form.hasAttribute("aria-busy")) return;
    form.setAttribute("aria-busy", "true");
    const done = await run(Object.fromEntries(new FormData(form)), output);
    if (output) show(output, done);
    form.removeAttribute("aria-busy");
  });
}

/** The sentence for an answer: what it says, or why there is nothing to say. */
const outcome = ({ ok, status, body, source }, say) =>
  ok ? { text: say(body), failed: false, source } : { text: status === 401 ? "Log in first" : body.detail ?? `Status ${status}`, failed: true };

onSubmit("login", async ({ username, password }) => {
  const answer = await call("POST", "/token", { form: new URLSearchParams({ username, password }) });
  if (answer.ok) setToken(answer.body.access_token, `Logged in as ${username} for ${Math.round(answer.body.expires_in / 60)} minutes`);
  else setToken(null, answer.body.detail ?? "That did not work", true);
  return {};
});

byId("logout").addEventListener("click", () => {
  setToken(null, "Not logged in");
  // The button is gone now: whoever works by keyboard goes on where they log in.
  byId("login").querySelector("button").focus();
});

onSubmit("balance", async ({ card_id }) => {
  const answer = await call("GET", `/cards/${encodeURIComponent(card_id)}/balance`);
  return outcome(answer, (body) => `${pesos.format(body.balance)} (${body.status})`);
});

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" });
const sayMovement = ({ kind, amount, balance, occurred_at }) =>
  `${day.format(new Date(occurred_at))}  ${kind}  ${pesos.format(amount)} → ${pesos.format(balance)}`;

async function readHistory(card, cursor) {
  const path = `/cards/${encodeURIComponent(card)}/history?limit=5${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;
  const answer = await call("GET", path);
  if (answer.ok) olderHistory = answer.body.next_cursor ? { card, cursor: answer.body.next_cursor } : null;
  byId("older").disabled = !olderHistory;
  return outcome(answer, ({ data }) => data.map(sayMovement).join("\n") || "Nothing happened on this card yet");
}

onSubmit("history", ({ card_id }) => readHistory(card_id));

byId("older").addEventListener("click", async () => {
  show(byId("history").querySelector("output"), await readHistory(olderHistory.card, olderHistory.cursor));
});

const sayRecharge = (body) => `Recharge ${body.recharge_id}: ${pesos.format(body.amount)}\nThe card now has ${pesos.format(body.balance)}`;

onSubmit("recharge", async ({ card_id, amount }) => {
  lastRecharge = { json: { card_id: Number(card_id), amount: Number(amount) }, key: uniqueKey() };
  byId("repeat").disabled = false;
  return outcome(await call("POST", "/recharges", lastRecharge), sayRecharge);
});

byId("repeat").addEventListener("click", async () => {
  const answer = await call("POST", "/recharges", lastRecharge);
  show(byId("recharge").querySelector("output"), outcome(answer, (body) => `${sayRecharge(body)}\nThe same key: not charged twice`));
});

onSubmit("search", async ({ subject }) => {
  const answer = await call("GET", `/search?subject=${encodeURIComponent(subject)}`);
  return outcome(answer, ({ data }) => data.slice(0, 8).map((tutor) => `${tutor.id}  ${tutor.name}  ${tutor.rating}`).join("\n") || "No tutors for this subject");
});

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The booking once its notification is no longer pending, or as it was at the last look. */
async function awaitNotification(id) {
  const path = `/bookings/${id}`;
  for (let look = 1; look < LOOKS; look += 1) {
    const answer = await call("GET", path, { look: true });
    if (!answer.ok || answer.body.notification.state !== "pending") break;
    await pause(LOOK_INTERVAL);
  }
  return call("GET", path);
}

onSubmit("book", async ({ student_id, tutor_id, minutes }, output) => {
  const json = { student_id: Number(student_id), tutor_id: Number(tutor_id) };
  if (minutes) json.minutes = Number(minutes);
  const answer = await call("POST", "/book", { json, key: uniqueKey() });
  const sayBooking = (body) => `Booking ${body.booking_id}\n${day.format(new Date(body.starts_at))}`;
  const booked = outcome(answer, (body) => `${sayBooking(body)}\nNotification pending…`);
  if (!answer.ok) return booked;
  show(output, booked);
  const later = await awaitNotification(answer.body.booking_id);
  return { text: `${sayBooking(answer.body)}\nNotification ${later.ok ? later.body.notification.state : "not known"}`, failed: later.ok && later.body.notification.state === "failed" };
});

onSubmit("data", async ({ key }) => {
  const answer = await call("GET", `/data?key=${encodeURIComponent(key)}`);
  return outcome(answer, (body) => `${body.data}\nby gateway ${body.gateway_id}`);
});

async function watchSystem() {
  const system = byId("system");
  let said;
  try {
    const { gateways } = await (await fetch("/health", { headers: { accept: "application/json" } })).json();
    const names = Object.entries(gateways);
    const up = names.filter(([, healthy]) => healthy).length;
    said = `${up} of ${names.length} gateways up`;
  } catch {
    said = "The balancer does not answer";
  }
  // Only a change is written, so that a screen reader is not told the same thing over and over.
  if (system.textContent !== said) system.textContent = said;
  setTimeout(watchSystem, 3000);
}

watchSystem();
