/** A form that makes one call: busy while it is on its way, errors at their field, a way to try again, and the account of the answer. */

import { make, record, showWay } from "./answers.js";
import { currentSession, explain, isOpen, onSession, send, uniqueKey } from "./calls.js";
import { many } from "./words.js";

const NOT_KNOWN = "It is not known whether this was booked. Trying again is safe: the same key is booked once.";

let errors = 0;

function clearErrors() {
  for (const note of document.querySelectorAll(".field-error")) note.remove();
  for (const field of document.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
}

/** Says at the field what is wrong with it, and takes the reader there. */
function blame(form, name, text) {
  const field = form.elements[name] ?? document.querySelector(`[name="${CSS.escape(name)}"]`);
  if (!(field instanceof HTMLElement)) return false;
  const note = make("span", "field-error", text);
  note.id = `error-${errors += 1}`;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", note.id);
  // After the label: inside, it would become part of the field's name.
  (field.closest("label") ?? field).after(note);
  field.focus();
  return true;
}

/** The first field that must be filled in and is not. */
function firstEmpty(form) {
  return Array.from(form.elements).find((field) => field.required && !field.value.trim());
}

/**
 * Connects a form.
 *
 * `request(values)` gives what to send, `show(answer, request)` shows a good answer and gives the sentence to say.
 * A write gets a key; while it is not known what became of it, the same values go out under the same key. Keys are the caller's
 * own: whoever else logs in has nothing to try again.
 */
export function connect(form, { request, show, write = false, refused = () => {}, changed = () => {} }) {
  const said = make("p", "said");
  said.setAttribute("role", "status");
  const retry = make("button", "retry", "Try again");
  retry.type = "button";
  retry.hidden = true;
  const way = make("div", "way");
  way.hidden = true;
  form.append(make("div", "outcome", said, retry, way));

  let last = null;
  let open = null;
  let timer = null;
  let lacksToken = false;

  function say(text, failed = false) {
    said.textContent = text;
    said.classList.toggle("failed", failed);
  }

  /** Offers to try again, at once or when the server said. */
  function offer(seconds) {
    clearInterval(timer);
    let left = seconds;
    const tick = () => {
      retry.setAttribute("aria-disabled", String(left > 0));
      retry.textContent = left > 0 ? `Try again in ${many(left, "second")}` : write ? "Try again, safely" : "Try again";
      if (left <= 0) clearInterval(timer);
      left -= 1;
    };
    retry.hidden = false;
    tick();
    if (seconds > 0) timer = setInterval(tick, 1000);
  }

  async function run(wanted) {
    // The button stays enabled, or it would lose the keyboard's focus; a second press meanwhile does nothing.
    if (form.getAttribute("aria-busy") === "true") return null;
    form.setAttribute("aria-busy", "true");
    clearErrors();
    wanted = { ...wanted, caller: currentSession()?.username ?? wanted.caller };
    last = wanted;
    const wasOpen = Boolean(open) && open.key === wanted.key;
    if (write) { open = wanted; changed(open); }
    // It stays in its place while it is used, and only then goes.
    const again = document.activeElement === retry;
    const answer = await send(wanted);
    form.setAttribute("aria-busy", "false");
    record(answer);
    showWay(way, answer);
    lacksToken = answer.status === 401;
    // Refused for want of a token, it was not looked at: what was unknown before still is.
    const mayRepeat = isOpen(answer) || (wasOpen && lacksToken);
    if (write && !mayRepeat) { open = null; changed(null, wanted, answer); }
    if (answer.ok) {
      say(show(answer, wanted) ?? "");
    } else {
      const { text, field } = explain(answer);
      if (field && blame(form, field, text)) say("");
      else say(write && mayRepeat ? `${text} ${NOT_KNOWN}` : text, true);
      refused(answer, wanted);
    }
    if (mayRepeat && !answer.ok) {
      offer(answer.retryAfter);
    } else {
      clearInterval(timer);
      if (again) form.querySelector("button:not([type=button])").focus();
      retry.hidden = true;
    }
    return answer;
  }

  onSession((session) => {
    if (!session) return;
    if (open?.caller && open.caller !== session.username) {
      last = open = null;
      clearInterval(timer);
      retry.hidden = true;
      say("");
      changed(null);
    } else if (lacksToken) {
      say(open ? NOT_KNOWN : "", Boolean(open));
    }
    lacksToken = false;
  });

  /** The same values as those that are still open are the same write. */
  function keyed(wanted) {
    if (!write) return wanted;
    const same = open && open.path === wanted.path && JSON.stringify(open.json) === JSON.stringify(wanted.json);
    return { ...wanted, key: same ? open.key : uniqueKey() };
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(form));
    const empty = firstEmpty(form);
    clearErrors();
    if (empty) blame(form, empty.name, "Please fill this in");
    else run(keyed(request(values)));
  });
  retry.addEventListener("click", () => {
    if (last && retry.getAttribute("aria-disabled") !== "true") run(last);
  });

  return {
    say,
    run: (wanted) => run(keyed(wanted)),
    /** Sends exactly this, key and all. */
    repeat: run,
    /** Takes up a write of which nobody knows what became. */
    resume(pending) {
      last = open = pending;
      changed(open);
      offer(0);
    },
  };
}
