/** Tutors: search, book, and see the notification arrive. */

import { make, record } from "./answers.js";
import { send } from "./calls.js";
import { connect } from "./forms.js";
import { many, when } from "./words.js";

/** How often, and how many milliseconds apart, a booking's notification is looked for. */
const LOOKS = 80;
const LOOK_INTERVAL = 250;

const byId = (id) => document.getElementById(id);
const typed = (text) => (/^\d{1,15}$/.test(text.trim()) ? Number(text) : text.trim());

function tutorRow({ id, name, rating }) {
  const book = make("button", "quiet", "Book", make("span", "unseen", ` ${name}`));
  book.type = "button";
  book.addEventListener("click", () => {
    byId("book").elements.tutor_id.value = id;
    byId("book").requestSubmit();
  });
  return make("li", "", make("span", "what", name, " ", make("span", "hint", `tutor ${id}`)), make("span", "rating", `${rating.toFixed(1)} of 5`), book);
}

connect(byId("search"), {
  request: ({ subject }) => ({ path: `/search?subject=${encodeURIComponent(subject)}` }),
  show({ body }, { path }) {
    byId("found").replaceChildren(...body.data.slice(0, 8).map(tutorRow));
    const subject = decodeURIComponent(path.split("=")[1]);
    return body.data.length ? `${many(body.data.length, "tutor")} for ${subject}, the best rated first.` : `Nobody teaches ${subject}.`;
  },
});

const ORDER = ["booked", "pending", "sent"];

/** Shows how far a booking is: what is behind it, and what it is at. */
function showStep(current) {
  byId("steps").hidden = current === null;
  for (const item of byId("steps").children) {
    const place = ORDER.indexOf(item.dataset.step) - ORDER.indexOf(current);
    item.dataset.state = place < 0 || current === "sent" ? "done" : place === 0 ? "now" : "later";
    if (place === 0) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** Looks at an older booking end when there is a newer one. */
let watched = 0;

async function watchNotification(id, sentence) {
  const path = `/bookings/${id}`;
  watched = id;
  showStep("pending");
  for (let look = 0; look < LOOKS && watched === id; look += 1) {
    const answer = await send({ path });
    if (watched !== id) return;
    const state = answer.body.notification?.state;
    if (answer.ok && state !== "pending") {
      record(answer);
      if (state === "sent") showStep("sent");
      const { created_at: booked, notification } = answer.body;
      const seconds = (new Date(notification.sent_at) - new Date(booked)) / 1000;
      const soon = seconds < 0.1 ? "less than a tenth of a second" : `${seconds.toFixed(1)} seconds`;
      book.say(state === "sent" ? `${sentence} The notification was sent ${soon} after the booking.` : `${sentence} The notification failed.`, state !== "sent");
      return;
    }
    if (answer.status === 401) return;
    await pause(LOOK_INTERVAL);
  }
  if (watched === id) book.say(`${sentence} The notification is still on its way: the queue or its reader is behind.`);
}

const book = connect(byId("book"), {
  write: true,
  request: (values) => ({
    method: "POST",
    path: "/book",
    json: { student_id: typed(values.student_id), tutor_id: typed(values.tutor_id), minutes: typed(values.minutes) },
  }),
  changed(open) {
    if (open) { watched = 0; showStep(null); }
  },
  show({ body }) {
    const minutes = Math.round((new Date(body.ends_at) - new Date(body.starts_at)) / 60_000);
    const sentence = `Booking ${body.booking_id} with tutor ${body.tutor_id}: ${when(body.starts_at)}, ${many(minutes, "minute")}.`;
    watchNotification(body.booking_id, sentence);
    return sentence;
  },
});
