/** Numbers and times as people say them. */

const pesosFormat = new Intl.NumberFormat("en-US", { style: "currency", currency: "COP", currencyDisplay: "narrowSymbol", maximumFractionDigits: 0 });
const plainFormat = new Intl.NumberFormat("en-US");
const roughFormat = new Intl.NumberFormat("en-US", { notation: "compact", compactDisplay: "long", maximumFractionDigits: 1 });
const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const dateFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric" });

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** "$25,250" */
export const pesos = (amount) => pesosFormat.format(amount).replace("-", "−");

/** "25,250" */
export const number = (value) => plainFormat.format(value);

/** "110.2 million" from a million on, digits before. */
export const rough = (value) => (Math.abs(value) < 1_000_000 ? plainFormat : roughFormat).format(value);

/** "3 trips", "1 trip" */
export const many = (count, one, more = `${one}s`) => `${number(count)} ${count === 1 ? one : more}`;

/** "0.48 ms", "14.9 ms", "1.2 s": three digits say enough. */
export function duration(milliseconds) {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)} s`;
  if (milliseconds >= 100) return `${Math.round(milliseconds)} ms`;
  return `${milliseconds.toFixed(milliseconds >= 10 ? 1 : 2)} ms`;
}

const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

/** "just now", "5 minutes ago", "today at 14:05", "tomorrow at 09:00", "Monday 2 March at 09:00", "2 March 2025 at 09:00". */
export function when(time, now = new Date()) {
  const date = new Date(time);
  const past = now - date;
  if (past >= 0 && past < MINUTE) return "just now";
  if (past >= 0 && past < 60 * MINUTE) return `${many(Math.floor(past / MINUTE), "minute")} ago`;
  const days = Math.round((midnight(date) - midnight(now)) / DAY);
  const near = { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days];
  const day = near ?? (Math.abs(days) < 300 ? dayFormat : dateFormat).format(date);
  return `${day} at ${clockFormat.format(date)}`;
}

/** A sentence begins with a capital letter. */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
