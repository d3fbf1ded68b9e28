// Fills the page from the top: what is needed first is asked for first.

import { get } from "./api.js";
import { showCharts } from "./charts.js";
import { showLimits } from "./limits.js";
import { showNeeds } from "./needs.js";
import { showPrices } from "./prices.js";
import { checkKeys, showReady } from "./ready.js";
import { showRuns } from "./runs.js";
import { showSettings } from "./settings.js";
import { byId, element, say } from "./show.js";
import { showSpent } from "./spent.js";

/** Everything that a change of the record or of the limits changes. */
async function refresh() {
  const spending = await get("spending");
  const { viewer, spent } = spending;
  byId("viewer").textContent = viewer.name ? `${viewer.name}${viewer.is_admin ? ", administrator" : ""}` : "";
  showSpent(spending);
  showNeeds(spending, refresh);
  await Promise.all([
    showRuns(spending, refresh),
    showCharts(spent !== null),
    viewer.is_admin ? showLimits(refresh) : null,
  ]);
  return spending;
}

function showRecord({ record }) {
  const file = record.file ? [" Spending record: ", element("code", {}, record.file)] : [];
  byId("record").replaceChildren(...(record.is_on ? file : ["The spending record is off, so nothing is counted."]));
}

async function start() {
  say("Loading …");
  const status = await get("status");
  byId("sandbox").hidden = !status.sandbox;
  showReady(status);
  const spending = await refresh();
  showRecord(spending);
  byId("page").hidden = false;
  say(spending.record.message ?? "", Boolean(spending.record.message));
  if (spending.viewer.is_admin) await showSettings();
  await showPrices();
  if (spending.viewer.is_admin && !status.sandbox) await checkKeys(status);
}

start().catch((error) => {
  byId("page").hidden = true;
  if (error.status === 401) {
    say("You are not signed in. ");
    byId("status").append(element("a", { href: "../" }, "Sign in to Invoke"), ", then open this page again.");
  } else {
    say(error.message, true);
  }
});
