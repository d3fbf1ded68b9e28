// The last runs, newest first: price, time, notices, and why one was refused.

import { get } from "./api.js";
import { settle } from "./settle.js";
import { byId, button, count, element, seconds, upTo, usd, when } from "./show.js";

const FILTERS = { all: "All", unconfirmed: "May have been charged", refused: "Refused by a limit" };

const EMPTY = {
  all: "Nothing was sent yet.",
  unconfirmed: "No run may have been charged.",
  refused: "No run was refused by a limit.",
};

const REASONS = {
  authentication: "the provider did not accept the key",
  budget_exceeded: "refused by a limit: it could have cost more",
  content_blocked: "the provider blocked the content",
  invalid_response: "the response could not be read",
  network: "the connection failed",
  quota: "the account lacks credit, quota or verification",
  rate_limited: "too many requests",
  timed_out: "no response in time",
  unavailable: "the provider was not available",
};

/** How many are shown at first. */
const FIRST = 12;

let only = "all";
let page = { runs: [], before: null };
let context = { viewer: {}, refresh: null };

export async function showRuns({ viewer }, refresh) {
  context = { viewer, refresh };
  const wanted = Math.min(Math.max(FIRST, page.runs.length), 100);
  page = await get("spending/runs", { only, count: wanted });
  draw();
}

export async function chooseRuns(name) {
  only = name;
  page = await get("spending/runs", { only, count: FIRST });
  draw();
  byId("runs-title").focus();
}

async function more() {
  const first = page.runs.length;
  const next = await get("spending/runs", { only, before: page.before });
  page = { runs: [...page.runs, ...next.runs], before: next.before };
  draw();
  byId("runs-table").tBodies[0].rows[first]?.focus();
}

function draw() {
  byId("runs-filter").replaceChildren(
    ...Object.entries(FILTERS).map(([name, text]) =>
      button(text, () => chooseRuns(name), { "aria-pressed": String(name === only) }),
    ),
  );
  byId("runs-table").hidden = !page.runs.length;
  byId("runs-table").classList.toggle("without-images", !page.runs.some((run) => run.image));
  byId("runs-table").tBodies[0].replaceChildren(...page.runs.map(row));
  const none = byId("runs-none");
  none.hidden = page.runs.length > 0;
  none.textContent = EMPTY[only];
  const button_ = byId("runs-more");
  button_.hidden = page.before === null;
  button_.onclick = () => more();
}

function row(run) {
  const cell = (label, attributes, ...children) => element("td", { "data-label": label, ...attributes }, ...children);
  const details = [run.size, run.quality, run.n > 1 ? count(run.n, "image") : null].filter(Boolean).join(", ");
  const where = [run.user, run.board, run.tag, run.host === "invoke" ? null : hostOf(run)].filter(Boolean).join(" · ");
  return element(
    "tr",
    { tabindex: -1, class: run.state },
    cell("Image", { class: "thumb" }, thumbnail(run)),
    cell("When", {}, element("time", { datetime: run.at }, when(run.at))),
    cell("Model", {}, element("strong", {}, run.model_name), small([details, where].filter(Boolean).join(" · "))),
    cell("Price", { class: "number" }, ...price(run)),
    cell("Time", { class: "number" }, seconds(run.seconds)),
    cell("Result", { class: "result" }, ...result(run)),
  );
}

const small = (text) => (text ? element("span", { class: "small" }, text) : null);

function hostOf({ host }) {
  return { cli: "command line", library: "Python" }[host] ?? host;
}

function thumbnail({ image, model_name }) {
  if (!image) return null;
  const base = `../api/v1/images/i/${encodeURIComponent(image)}`;
  const shown = element("img", { src: `${base}/thumbnail`, alt: `Image of ${model_name}`, loading: "lazy" });
  return element("a", { href: `${base}/full`, target: "_blank", rel: "noopener" }, shown);
}

function price(run) {
  if (run.sandbox) return [small("sandbox")];
  if (run.state === "charged") {
    return [run.cost_usd === null ? "unknown" : usd(run.cost_usd), small(run.imported ? "earlier image" : null)];
  }
  if (run.state === "not_charged") return ["–"];
  return [run.at_most_usd === null ? "unknown" : upTo(run.at_most_usd)];
}

function result(run) {
  const { refresh } = context;
  const lines = [];
  const reason = run.error ? (REASONS[run.error] ?? run.error.replaceAll("_", " ")) : null;
  if (run.state === "in_progress") lines.push(mark("in progress", ""));
  else if (run.is_refused) lines.push(mark(reason, "warns"));
  else if (run.state === "unconfirmed") lines.push(mark("may have been charged", "unconfirmed"), small(reason));
  else if (run.state === "not_charged") lines.push(mark(`not charged${reason ? `: ${reason}` : ""}`, ""));
  else lines.push(mark(run.images === 1 ? "done" : count(run.images, "image"), "good"), small(reason));
  if (run.is_overrun) lines.push(mark(`more than the expected ${usd(run.at_most_usd)} at most`, "warns"));
  lines.push(...run.notices.filter(Boolean).map(small));
  if (run.may_settle) {
    const about = `the run of ${when(run.at)}`;
    lines.push(
      element(
        "span",
        { class: "actions" },
        button("Charged", () => settle({ calls: [run.id], charged: true }, refresh), {
          "aria-label": `Charged: ${about}`,
        }),
        button("Not charged", () => settle({ calls: [run.id], charged: false }, refresh), {
          "aria-label": `Not charged: ${about}`,
        }),
      ),
    );
  }
  return lines;
}

const mark = (text, name) => element("span", { class: `state ${name}` }, text);
