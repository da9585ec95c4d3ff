/** Calls: one request, and everything its answer says of itself. */

import { capital, many } from "./words.js";

/** Where the token lives: as long as the tab, so that loading the page again logs nobody out. */
const SESSION = "recarga.session";

const listeners = [];
let session = readSession();

function readSession() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(SESSION));
    return typeof kept?.token === "string" ? kept : null;
  } catch {
    return null;
  }
}

/** Whoever is logged in: `{token, username, until}`, or null. */
export const currentSession = () => session;

/** `why` is what to tell when it ended by itself. */
export function setSession(value, why = null) {
  session = value;
  if (value) sessionStorage.setItem(SESSION, JSON.stringify(value));
  else sessionStorage.removeItem(SESSION);
  for (const listener of listeners) listener(value, why);
}

export const onSession = (listener) => listeners.push(listener);

/** A key nobody else has; randomUUID is there on loopback and https only. */
export function uniqueKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** `gateway;dur=1.2;start=0.1, pg;dur=0.4` as hops of a name, a duration and, where it is known, a start in milliseconds. */
export function readTiming(header) {
  const hops = [];
  for (const entry of (header ?? "").split(",")) {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim());
    const read = (key) => {
      const found = parameters.find((parameter) => parameter.startsWith(`${key}=`));
      return found ? Number(found.slice(key.length + 1)) : NaN;
    };
    const took = read("dur");
    if (name && Number.isFinite(took)) hops.push({ name, took, start: read("start") });
  }
  return hops;
}

/** Sends one request. Never throws: no answer is an answer of status 0. */
export async function send({ method = "GET", path, json, form, key }) {
  const headers = { accept: "application/json" };
  const sentToken = session?.token;
  if (sentToken) headers.authorization = `Bearer ${sentToken}`;
  if (key) headers["idempotency-key"] = key;
  if (json) headers["content-type"] = "application/json";
  const started = performance.now();
  const answer = { method, path, status: 0, ok: false, body: {}, hops: [], hadToken: Boolean(sentToken) };
  try {
    const response = await fetch(path, { method, headers, body: json ? JSON.stringify(json) : form, cache: "no-store" });
    const text = await response.text();
    const header = (name) => response.headers.get(name);
    Object.assign(answer, {
      status: response.status,
      ok: response.ok,
      gateway: header("x-gateway"),
      cache: header("x-cache"),
      age: header("age") === null ? null : Number(header("age")),
      replayed: header("idempotency-replayed") === "true",
      retryAfter: Number(header("retry-after")) || 0,
      requestId: header("x-request-id"),
      hops: readTiming(header("server-timing")),
    });
    try { answer.body = JSON.parse(text) ?? {}; } catch { answer.body = { detail: text.slice(0, 200) }; }
  } catch {
    answer.offline = navigator.onLine === false;
  }
  answer.elapsed = performance.now() - started;
  if (answer.status === 401 && sentToken && sentToken === session?.token) {
    setSession(null, "Your token is no longer good: it lasts 30 minutes. Log in again to go on.");
  }
  return answer;
}

/** Whether it is unknown, or not final, what became of a write: it may be sent again, under the same key. */
export const isOpen = ({ status, retryAfter }) => status === 0 || status === 429 || status >= 500 || (status === 409 && retryAfter > 0);

/** Why there is no result, in words, and which field is to blame. */
export function explain(answer) {
  const { status, body, retryAfter } = answer;
  const detail = typeof body.detail === "string" && body.detail ? capital(body.detail) : `The answer was ${status}`;
  const later = retryAfter ? ` It may be tried again in ${many(retryAfter, "second")}.` : "";
  if (status === 0) {
    return { text: answer.offline ? "This device is offline." : "No answer came: the connection was cut, or the load balancer is away." };
  }
  if (status === 401) return { text: answer.hadToken ? "The token is no longer good. Log in again." : answer.path === "/token" ? "User or password is wrong." : "Log in first." };
  if (status === 422 && body.field) return { field: body.field, text: capital(detail.replace(new RegExp(`^${body.field}: `, "i"), "")) };
  if (status === 429) return { text: `Too many requests.${later}` };
  if (status === 503) return { text: `${detail}.${later}` };
  if (status === 504) return { text: "There was no answer in time." };
  return { text: `${detail}.` };
}
