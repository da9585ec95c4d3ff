/** Sums over the whole city, and the slow read. */

import { make } from "./answers.js";
import { connect } from "./forms.js";
import { number, pesos, rough } from "./words.js";

/** The most localities that are drawn. */
const SHOWN = 12;

const byId = (id) => document.getElementById(id);

function tile(id, path, show) {
  const figure = byId(id).querySelector(".figure");
  connect(byId(id), {
    request: () => ({ path }),
    show({ body }) {
      const { great, exact } = show(body);
      figure.textContent = great;
      return exact;
    },
  });
}

tile("revenue", "/finance/revenue", ({ total_revenue: sum }) => ({ great: `$${rough(sum)}`, exact: `Exactly ${pesos(sum)}.` }));
tile("total", "/trips/total", ({ total_trips: sum }) => ({ great: rough(sum), exact: `Exactly ${number(sum)} trips.` }));
tile("users", "/users/count", ({ total_users: sum }) => ({ great: rough(sum), exact: `Exactly ${number(sum)} users, counted just now.` }));

connect(byId("localities"), {
  request: ({ what }) => ({ path: what === "trips" ? "/trips/total/localities" : "/finance/revenue/localities", what }),
  show({ body }, { what }) {
    const [member, say] = what === "trips" ? ["total_trips", number] : ["total_revenue", pesos];
    const rows = body.data.toSorted((one, other) => other[member] - one[member]).slice(0, SHOWN);
    const most = Math.max(1, ...rows.map((row) => row[member]));
    byId("bars").replaceChildren(...rows.map((row) => {
      const bar = make("span", "bar");
      bar.style.setProperty("--from", "0%");
      bar.style.setProperty("--share", `${(row[member] / most * 100).toFixed(1)}%`);
      const track = make("span", "track", bar);
      track.setAttribute("aria-hidden", "true");
      return make("li", "", make("span", "hop", row.locality), track, " ", make("span", "took", say(row[member])));
    }));
    return rows.length ? `${rows[0].locality} comes first with ${say(rows[0][member])}.` : "There are no localities.";
  },
});

connect(byId("data"), {
  request: ({ key }) => ({ path: `/data?key=${encodeURIComponent(key)}` }),
  show: ({ body }) => `${body.data} (by gateway ${body.gateway_id})`,
});
