// Settles runs that may have been charged, as the user says.

import { post } from "./api.js";
import { byId, count, say } from "./show.js";

/** Settles runs, and says how many. */
export async function settle(body, refresh) {
  const { settled } = await post("spending/settle", body);
  await refresh();
  say(`${count(settled, "run")} settled as ${body.charged ? "charged" : "not charged"}.`);
  byId("needs-title").focus();
}
