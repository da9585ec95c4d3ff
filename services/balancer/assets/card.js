/** The travel card: balance, recharge, history; and a trip with it. */

import { make } from "./answers.js";
import { currentSession, onSession } from "./calls.js";
import { connect } from "./forms.js";
import { many, pesos, when } from "./words.js";

/** Where a recharge of which the answer is missing outlives the page. */
const OPEN_RECHARGE = "recarga.recharge";
const PAGE = 5;

const byId = (id) => document.getElementById(id);
const cardNumber = byId("card-number");
/** As it was typed: what is no number is for the server to refuse. */
const typed = (text) => (/^\d{1,15}$/.test(text.trim()) ? Number(text) : text.trim());
const card = () => cardNumber.value.trim();
const cardPath = (rest) => `/cards/${encodeURIComponent(card())}/${rest}`;

function showBalance(id, balance, state) {
  byId("card-shown").textContent = id;
  byId("balance-shown").textContent = balance === null ? "$ –" : pesos(balance);
  byId("card-state").textContent = state ?? "";
}

/** A write told the new balance; what was read before is old now. */
function outdate(id, left) {
  if (String(id) !== card()) return;
  showBalance(id, left, "active");
  balance.say("Changed since it was read. The copy in the cache is gone: reading it now is a MISS.");
}

cardNumber.addEventListener("input", () => showBalance(card() || "–", null));

const balance = connect(byId("balance"), {
  request: () => ({ path: cardPath("balance") }),
  show({ body }) {
    showBalance(body.card_id, body.balance, body.status);
    return `Card ${body.card_id} has ${pesos(body.balance)} and is ${body.status}.`;
  },
});

const amount = byId("recharge").elements.amount;
const repeat = byId("repeat");
let booked = null;

for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => { amount.value = chip.dataset.amount; showChosen(); });
}
amount.addEventListener("input", showChosen);

function showChosen() {
  for (const chip of document.querySelectorAll(".chip")) chip.setAttribute("aria-pressed", String(chip.dataset.amount === amount.value.trim()));
}
showChosen();

function showKey(key) {
  byId("key").hidden = !key;
  byId("key").querySelector("code").textContent = key ?? "";
}

const recharge = connect(byId("recharge"), {
  write: true,
  request: (values) => ({ method: "POST", path: "/recharges", json: { card_id: typed(card()), amount: typed(values.amount) } }),
  /** `open` is what is on its way; when it is settled, `settled` and its answer are. */
  changed(open, settled, answer) {
    if (open) sessionStorage.setItem(OPEN_RECHARGE, JSON.stringify(open));
    else sessionStorage.removeItem(OPEN_RECHARGE);
    if (open) showKey(open.key);
    else if (!answer?.ok) showKey(booked?.key);
    if (answer?.ok) booked = settled;
    repeat.hidden = !booked || Boolean(open);
  },
  show(answer) {
    const { recharge_id: id, card_id: of, amount: paid, balance: left } = answer.body;
    if (answer.replayed) return `Recharge ${id} again: the same key, so nothing was charged twice. It had left ${pesos(left)} on card ${of}.`;
    outdate(of, left);
    return `Recharge ${id}: ${pesos(paid)} for card ${of}, which now has ${pesos(left)}.`;
  },
});

repeat.addEventListener("click", async () => {
  await recharge.repeat(booked);
  repeat.focus();
});

/** A key is its caller's own: under another name it would be another recharge. */
onSession((session) => {
  if (!session || !booked || booked.caller === session.username) return;
  booked = null;
  repeat.hidden = true;
  showKey(null);
});

try {
  const pending = JSON.parse(sessionStorage.getItem(OPEN_RECHARGE));
  const user = currentSession()?.username;
  if (pending?.key && pending.json && (!user || user === pending.caller)) {
    recharge.resume(pending);
    recharge.say(`The answer to a recharge of ${pesos(pending.json.amount)} for card ${pending.json.card_id} never came. Trying again is safe: the same key is booked once.`, true);
  }
} catch {
  sessionStorage.removeItem(OPEN_RECHARGE);
}

let older = null;

function movementRow({ kind, amount: moved, balance: left, occurred_at: at, route_id: route, station_id: station, transfer }) {
  const what = kind === "trip" ? `Trip on route ${route} from station ${station}${transfer || moved === 0 ? ", a free transfer" : ""}` : "Recharge";
  const time = make("time", "hint", when(at));
  time.dateTime = at;
  const sum = make("span", moved > 0 ? "sum more" : "sum", (moved > 0 ? "+" : "") + pesos(moved));
  return make("li", "", make("span", "what", what, " ", time), " ", make("span", "end", sum, " ", make("span", "hint", `left ${pesos(left)}`)));
}

const history = connect(byId("history"), {
  request: () => ({ path: cardPath(`history?limit=${PAGE}`) }),
  show({ body }, { more = false }) {
    const rows = body.data.map(movementRow);
    if (more) byId("movements").append(...rows);
    else byId("movements").replaceChildren(...rows);
    older = body.next_cursor ? { path: `/cards/${body.card_id}/history?limit=${PAGE}&cursor=${encodeURIComponent(body.next_cursor)}`, more: true } : null;
    const button = byId("older");
    if (!older && document.activeElement === button) byId("history").querySelector("button").focus();
    button.hidden = !older;
    if (!body.data.length) return "Nothing has happened on this card yet.";
    return `${many(body.data.length, "movement")} of card ${body.card_id}, the newest first.`;
  },
});

byId("older").addEventListener("click", () => { if (older) history.run(older); });

/** The trip that is under way. */
let under_way = null;

const ride = connect(byId("ride"), {
  write: true,
  request: () => under_way.end,
  show(answer) {
    if (answer.path === "/trips") {
      const { trip_id: id, fare, transfer, balance: left, card_id: of, station_id: station } = answer.body;
      under_way = { end: { method: "POST", path: `/trips/${id}/end`, json: { station_id: station } } };
      outdate(of, left);
      byId("ride").querySelector("button").hidden = false;
      return `On board with card ${of}: trip ${id}, ${transfer ? "a free transfer" : pesos(fare)}. ${pesos(left)} are left.`;
    }
    under_way = null;
    const button = byId("ride").querySelector("button");
    if (document.activeElement === button) byId("arrivals").querySelector("button").focus();
    button.hidden = true;
    return `Trip ${answer.body.trip_id} is over.`;
  },
});

function vehicleRow(station, { route_id: route, route_code: code, destination, minutes }) {
  const board = make("button", "quiet", "Board", make("span", "unseen", ` route ${code} to ${destination}`));
  board.type = "button";
  board.addEventListener("click", () => {
    byId("ride").hidden = false;
    byId("ride").querySelector("button").hidden = !under_way;
    ride.run({ method: "POST", path: "/trips", json: { card_id: typed(card()), route_id: route, station_id: station } });
  });
  const inWords = minutes < 1 ? "now" : `in ${many(minutes, "minute")}`;
  return make("li", "", make("b", "route", code), make("span", "what", destination, " ", make("span", "hint", inWords)), board);
}

connect(byId("arrivals"), {
  request: ({ station_id: station }) => ({ path: `/stations/${encodeURIComponent(station.trim())}/arrivals` }),
  show({ body }) {
    byId("vehicles").replaceChildren(...body.data.slice(0, 5).map((arrival) => vehicleRow(body.station_id, arrival)));
    return body.data.length ? `Next at ${body.station}.` : `Nothing comes to ${body.station} just now.`;
  },
});
