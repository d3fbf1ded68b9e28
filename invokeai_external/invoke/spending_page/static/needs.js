// What needs the user: costs that are not known, images that could not be delivered, runs that were refused.

import { chooseRuns } from "./runs.js";
import { settle } from "./settle.js";
import { byId, button, count, element, upTo, when } from "./show.js";

/** Where the browser keeps the newest refused run that the user has hidden. */
const HIDDEN = "invokeai_external.hidden_refused_run";

export function showNeeds({ viewer, spent, undelivered, kept }, refresh) {
  const cards = [];
  if (spent?.unconfirmed.calls) cards.push(unconfirmed(spent.unconfirmed, refresh));
  if (kept) {
    const one = kept.images === 1;
    cards.push(
      card(
        `${count(kept.images, "paid image")} ${one ? "is" : "are"} not in the gallery yet`,
        element(
          "p",
          {},
          `Invoke was stopped before ${one ? "it" : "they"} could be saved, or could not save ${one ? "it" : "them"}. Press `,
          "Retry on the failed item in the queue, which costs nothing. Otherwise Invoke puts ",
          `${one ? "it" : "them"} into the gallery after ${when(kept.until)}.`,
        ),
      ),
    );
  }
  if (undelivered) {
    const many = count(undelivered.images, "image");
    cards.push(
      card(
        `${many} could not be saved in the gallery`,
        element(
          "p",
          {},
          "The files are in the folder ",
          element("code", {}, undelivered.folder),
          " of Invoke's root. ",
          viewer.is_admin ? "Move them out to clear this line." : "An administrator of this Invoke can get them for you.",
        ),
      ),
    );
  }
  const refused = spent?.refused_today;
  // The numbers of runs begin again in a new record.
  const newest = refused?.runs ? `${spent.day.first_day}: ${refused.last}` : null;
  if (newest && localStorage.getItem(HIDDEN) !== newest) {
    const hide = async () => {
      localStorage.setItem(HIDDEN, newest);
      await refresh();
      byId("needs-title").focus();
    };
    cards.push(
      card(
        `${count(refused.runs, "run")} refused today by a limit`,
        element("p", {}, "Nothing was sent. Raise the limit or choose a cheaper image, then retry in the queue."),
        button("Show them", () => chooseRuns("refused")),
        button("Hide", hide),
      ),
    );
  }
  const list = byId("needs-list");
  list.replaceChildren(...(cards.length ? cards : [element("p", { class: "muted" }, "Nothing.")]));
}

function card(title, ...children) {
  return element("article", { class: "need" }, element("h3", {}, title), children);
}

function unconfirmed({ calls, at_most_usd, unknown, up_to }, refresh) {
  const open = unknown ? `, and ${count(unknown, "run")} whose price is unknown` : "";
  const settleAll = (charged) => settle({ up_to, charged }, refresh);
  const choice = element("div", { class: "actions" });
  const ask = (charged) => {
    const text = `Yes, settle ${count(calls, "run")} as ${charged ? "charged" : "not charged"}`;
    const yes = button(text, () => settleAll(charged), { class: "primary" });
    choice.replaceChildren(yes, button("Cancel", offer));
    yes.focus();
  };
  const offer = () =>
    choice.replaceChildren(
      button(calls === 1 ? "It was not charged" : "No run was charged", () => ask(false)),
      button(calls === 1 ? "It was charged" : "All runs were charged", () => ask(true)),
      button("Show them", () => chooseRuns("unconfirmed")),
    );
  offer();
  return card(
    `${count(calls, "run")} may have been charged, ${upTo(at_most_usd)}${open}`,
    element(
      "p",
      {},
      "The provider has not said what it cost: a time-out, a cancelled run, a stopped Invoke, or a response that could ",
      "not be used. It counts against the limits until you say what became of it. Compare with the provider's bill.",
    ),
    choice,
  );
}
