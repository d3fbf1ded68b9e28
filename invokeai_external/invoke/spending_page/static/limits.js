// The limits, for administrators: of everybody together, of each user, of an image.

import { get, post } from "./api.js";
import { byId, button, element, say, usd } from "./show.js";

const PERIODS = { day: "a day", month: "a month" };

export async function showLimits(refresh) {
  draw(await get("limits"), refresh);
}

function draw(limits, refresh) {
  byId("limits").hidden = false;
  const isSet = limits.total.day_usd !== null || limits.total.month_usd !== null;
  const note = [
    "In USD. A run is refused before it is sent if it could exceed a limit; leave a field empty for no limit. They are in ",
    element("code", {}, "invokeai_external.yaml"),
    ", so you can change them there, too.",
  ];
  if (!isSet) note.unshift(element("strong", {}, "No limit is set for everybody together. "));
  byId("limits-note").replaceChildren(...note);
  const rows = [row("Everybody together", "total", limits.total, refresh)];
  if (limits.users.length) {
    rows.push(row("Each user, if not set below", "users.default", limits.default, refresh));
    for (const user of limits.users) {
      rows.push(row(user.name, `users.${user.name}`, user.is_default ? {} : user, refresh, user.is_default));
    }
  }
  const warnings = limits.exceed_total.map((period) =>
    element("p", { class: "warns" }, `The users' limits of ${PERIODS[period]} add up to more than the total.`),
  );
  byId("limits-list").replaceChildren(
    ...warnings,
    ...rows,
    form("One image", [["at most", "max_per_image", limits.max_per_image_usd]], refresh),
  );
}

function row(title, name, budget, refresh, isDefault = false) {
  const fields = Object.entries(PERIODS).map(([period, text]) => [
    text,
    `${name}.${period}`,
    budget[`${period}_usd`] ?? null,
  ]);
  const raised = budget.raised;
  const notes = [];
  if (isDefault) notes.push("as each user");
  if (raised) {
    const parts = Object.keys(PERIODS).filter((period) => raised[`${period}_usd`] != null);
    const shown = parts.map((period) => `${usd(raised[`${period}_usd`])} ${PERIODS[period]}`);
    notes.push(`until ${raised.until}: ${shown.join(", ")}`);
  }
  return form(title, fields, refresh, notes.join(", "));
}

function form(title, fields, refresh, note = "") {
  const inputs = fields.map(([text, name, value]) =>
    element(
      "label",
      {},
      `${text} `,
      element("input", {
        type: "number",
        min: 0,
        step: "any",
        inputmode: "decimal",
        value,
        placeholder: "no limit",
        "data-limit": name,
        "data-before": value ?? "",
        "aria-label": `${title}, ${text}, in USD`,
      }),
    ),
  );
  const heading = element("h3", {}, title, note ? element("span", { class: "small" }, note) : null);
  const save = button("Save", () => store(made, title, refresh), { type: "submit", "aria-label": `Save: ${title}` });
  const made = element("form", { class: "limit" }, heading, inputs, save);
  made.addEventListener("submit", (event) => event.preventDefault());
  return made;
}

async function store(made, title, refresh) {
  const changed = [...made.querySelectorAll("input")].filter((input) => input.value !== input.dataset.before);
  if (!made.reportValidity()) return;
  for (const input of changed) {
    const value = input.value === "" ? null : Number(input.value);
    await post("limits", { name: input.dataset.limit, usd: value });
  }
  await refresh();
  say(changed.length ? `Saved: ${title}.` : `Nothing has changed: ${title}.`);
}
