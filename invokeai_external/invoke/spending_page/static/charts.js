// What the last days cost, as bars.

import { get } from "./api.js";
import { bar, byId, count, element, usd } from "./show.js";

const HEIGHT = 120;
const TITLES = { models: "By model", users: "By user" };

export async function showCharts(isRecorded) {
  byId("charts").hidden = !isRecorded;
  if (!isRecorded) return;
  const charts = await get("spending/charts");
  if (!charts) return;
  const lists = Object.entries(TITLES).filter(([name]) => charts[name]?.some(amount));
  byId("charts-list").replaceChildren(days(charts.days), ...lists.map(([name, title]) => list(title, charts[name])));
}

const amount = (total) => total.charged_usd + total.unconfirmed_usd;

function days(all) {
  const most = Math.max(...all.map(amount));
  const sum = all.reduce((total, day) => total + amount(day), 0);
  const title = `${usd(sum)} in ${all.length} days`;
  if (!most) return element("p", { class: "muted" }, "Nothing was charged.");
  const width = 1000 / all.length;
  const svg = element("svg:svg", { class: "days", viewBox: `0 0 1000 ${HEIGHT}`, role: "img" });
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-label", `${title}, most on one day: ${usd(most)}`);
  all.forEach((day, number) => {
    let y = HEIGHT;
    for (const [name, part] of [["charged", day.charged_usd], ["unconfirmed", day.unconfirmed_usd]]) {
      const height = (part / most) * (HEIGHT - 4);
      y -= height;
      if (height) svg.append(element("svg:rect", { class: name, x: number * width + 2, y, width: width - 4, height }));
    }
    const text = `${day.name}: ${usd(amount(day))}, ${count(day.images, "image")}`;
    const full = element("svg:rect", { class: "hover", x: number * width, y: 0, width, height: HEIGHT });
    full.append(element("svg:title", {}, text));
    svg.append(full);
  });
  return element(
    "figure",
    {},
    element("figcaption", {}, `${title}. Most on one day: ${usd(most)}.`),
    svg,
    element("p", { class: "axis", "aria-hidden": "true" }, element("span", {}, all[0].name), element("span", {}, all.at(-1).name)),
  );
}

const open = ({ unconfirmed_usd }) =>
  unconfirmed_usd ? element("span", { class: "small" }, `${usd(unconfirmed_usd)} of it may have been charged`) : null;

function list(title, totals) {
  const shown = totals.filter(amount).slice(0, 12);
  const most = Math.max(...shown.map(amount));
  const rows = shown.map((total) =>
    element(
      "li",
      {},
      element("span", {}, total.name ?? "without a user"),
      element("span", { class: "number" }, `${usd(amount(total))}, ${count(total.images, "image")}`),
      bar([["charged", total.charged_usd], ["unconfirmed", total.unconfirmed_usd]], most, usd(amount(total))),
      open(total),
    ),
  );
  return element("figure", {}, element("figcaption", {}, title), element("ul", { class: "meters" }, rows));
}
