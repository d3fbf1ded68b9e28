// What was spent today and this month, with the limits on it.

import { bar, byId, count, element, usd, when } from "./show.js";

const PERIODS = { day: "Today", month: "This month" };

const PARTS = (amounts) => [
  ["charged", amounts.charged_usd],
  ["unconfirmed", amounts.unconfirmed_usd],
  ["in-progress", amounts.in_progress_usd],
];

const NO_LIMIT = { true: "The limits that are set are below.", false: "No limit is set." };

const NOTHING = { used_usd: 0, charged_usd: 0, unconfirmed_usd: 0, in_progress_usd: 0 };

export function showSpent({ spent, viewer, record }) {
  byId("spent").hidden = !record.is_on;
  const main = viewer.is_admin ? "total" : "user";
  const limits = spent?.limits ?? [];
  byId("periods").replaceChildren(
    ...Object.keys(PERIODS).map((period) => {
      const limit = limits.find((found) => found.scope === main && found.period === period);
      const isLimited = limits.some((found) => found.period === period);
      return tile(period, spent?.[period] ?? NOTHING, limit, isLimited, period === "day" ? spent?.last : null);
    }),
  );
  const others = limits.filter((limit) => limit.scope !== main);
  byId("other-limits").replaceChildren(...(others.length ? [otherLimits(others)] : []));
  byId("legend").hidden = !spent;
}

function tile(period, amounts, limit, isLimited, last) {
  const used = usd(amounts.used_usd);
  const title = limit ? `${used} of ${usd(limit.limit_usd)}` : used;
  const more = [];
  if (amounts.unconfirmed_usd) more.push(`${usd(amounts.unconfirmed_usd)} of it may have been charged`);
  if (amounts.in_progress_usd) more.push(`${usd(amounts.in_progress_usd)} of it is in progress`);
  return element(
    "article",
    { class: limit?.is_nearly_used ? "tile warns" : "tile" },
    element("h3", {}, PERIODS[period]),
    element("p", { class: "amount" }, title),
    last && last.more !== null ? element("p", {}, moreLike(last)) : null,
    // Without a limit, a bar would always be full.
    limit ? bar(PARTS(amounts), limit.limit_usd, `${PERIODS[period]}: ${title}`) : null,
    more.length ? element("p", { class: "muted" }, `${more.join(", ")}.`) : null,
    element("p", { class: "muted" }, limit ? `Starts again ${when(limit.resets_at)}.` : NO_LIMIT[isLimited]),
  );
}

function moreLike({ more, usd: price, limit }) {
  const like = `more like the last one (${usd(price)})`;
  const isTotal = limit.startsWith("total.");
  if (more < 1) return `Not enough for one ${like}${isTotal ? "" : `: ${nameOf(limit)} is used up`}.`;
  return `About ${more.toLocaleString("en-US")} ${like}${isTotal ? "" : `, by ${nameOf(limit)}`}.`;
}

/** A limit that applies to this user: "users.default.day" is "your limit of the day". */
function nameOf(limit) {
  const [, section, who, period] = limit.match(/^(\w+)\.(.+)\.(\w+)$/);
  return section === "users" ? `your limit of the ${period}` : `the limit of the ${period} for ${who}`;
}

function otherLimits(limits) {
  const rows = limits.map((limit) =>
    element(
      "li",
      { class: limit.is_nearly_used ? "warns" : null },
      element("span", {}, `${limit.who}, ${limit.period === "day" ? "today" : "this month"}`),
      element("span", { class: "number" }, `${usd(limit.used_usd)} of ${usd(limit.limit_usd)}`),
      bar(PARTS(limit), limit.limit_usd, `${usd(limit.used_usd)} of ${usd(limit.limit_usd)} is used`),
    ),
  );
  return element(
    "details",
    { open: limits.length <= 4 || limits.some((limit) => limit.is_nearly_used) },
    element("summary", {}, count(limits.length, "more limit")),
    element("ul", { class: "meters" }, rows),
  );
}
