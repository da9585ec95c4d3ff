/** The page: who is logged in, which gateways are up, and the forms of the other files. */

import { make } from "./answers.js";
import { currentSession, onSession, setSession } from "./calls.js";
import "./card.js";
import "./city.js";
import { connect } from "./forms.js";
import "./tutors.js";
import { many } from "./words.js";

/** Milliseconds between two looks at the gateways. */
const LOOK_INTERVAL = 3000;

const byId = (id) => document.getElementById(id);

let expiry = null;
/** What the keyboard was on when a token ran out. */
let returnTo = null;

const login = connect(byId("login"), {
  request: ({ username, password }) => ({ method: "POST", path: "/token", form: new URLSearchParams({ username, password }), username }),
  show({ body }, { username }) {
    setSession({ token: body.access_token, username, until: Date.now() + body.expires_in * 1000 });
    byId("login").elements.password.value = "";
    (returnTo?.isConnected ? returnTo : byId("card-title")).focus();
    returnTo = null;
    return "";
  },
});

/** Says who is logged in, and for how long; a screen reader hears only who. */
function showSession(session, why) {
  clearTimeout(expiry);
  document.body.dataset.session = session ? "in" : "out";
  byId("entry").hidden = Boolean(session);
  byId("logout").hidden = !session;
  byId("who").textContent = session ? `Logged in as ${session.username}` : "Not logged in";
  if (!session) {
    if (why) {
      const focused = document.activeElement;
      if (focused?.closest("form") && !byId("login").contains(focused)) returnTo = focused;
      login.say(why, true);
      byId("login").elements.password.focus();
    }
    return;
  }
  login.say("");
  const left = session.until - Date.now();
  byId("who").title = `The token lasts until ${new Date(session.until).toLocaleTimeString()}`;
  expiry = setTimeout(() => setSession(null, "Your token is no longer good: it lasts 30 minutes. Log in again to go on."), Math.max(left, 0));
}

onSession(showSession);
showSession(currentSession(), null);

byId("logout").addEventListener("click", () => {
  setSession(null);
  // The button is gone now: whoever works by keyboard goes on where they log in.
  byId("login").elements.password.focus();
});

/** Only a change is written, so that a screen reader is not told the same thing over and over. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

async function watchGateways() {
  let said;
  let gateways = {};
  try {
    const response = await fetch("/health", { headers: { accept: "application/json" }, cache: "no-store" });
    gateways = (await response.json()).gateways ?? {};
    const states = Object.values(gateways);
    said = states.length ? `${states.filter(Boolean).length} of ${many(states.length, "gateway")} up` : "No gateway is known";
  } catch {
    said = navigator.onLine === false ? "This device is offline" : "The load balancer does not answer";
  }
  setText(byId("system"), said);
  const shown = JSON.stringify(gateways);
  if (byId("gateways").dataset.shown !== shown) {
    byId("gateways").dataset.shown = shown;
    byId("gateways").replaceChildren(...Object.entries(gateways).sort().map(([name, up]) => {
      const item = make("li", "", name, make("span", "unseen", up ? ": up" : ": down"));
      item.dataset.up = up;
      return item;
    }));
  }
  setTimeout(watchGateways, LOOK_INTERVAL);
}

watchGateways();
