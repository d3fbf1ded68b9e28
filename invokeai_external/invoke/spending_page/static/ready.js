// Can I make images? Which keys work, and which models end soon.

import { get, post } from "./api.js";
import { ago, byId, button, element, say } from "./show.js";

export function showReady(status) {
  const configured = status.providers.filter((provider) => provider.configured);
  const refused = configured.filter((provider) => provider.check?.ok === false);
  const answer = byId("ready-answer");
  answer.className = "lead";
  if (!configured.length) {
    answer.classList.add("bad");
    answer.textContent = "Not yet: no provider has a key. Set one in Invoke: Models, External Providers.";
  } else if (refused.length === configured.length) {
    answer.classList.add("bad");
    answer.textContent = "No: no provider accepts its key.";
  } else {
    const accepted = configured.filter((provider) => status.sandbox || provider.check?.ok);
    const open = configured.filter((provider) => !refused.includes(provider) && !accepted.includes(provider));
    const known = accepted.length ? `Yes, with ${named(accepted)}.` : "";
    const unknown = open.length ? `The key of ${named(open)} was not checked since Invoke started.` : "";
    answer.classList.toggle("good", accepted.length > 0);
    answer.textContent = [known || "Perhaps.", unknown].filter(Boolean).join(" ");
  }
  byId("providers").replaceChildren(...status.providers.map((provider) => row(provider, status.sandbox)));
  byId("ending").replaceChildren(...status.ending.map((text) => element("li", {}, text)));
  const links = configured.filter((provider) => provider.billing_url?.startsWith("https://"));
  const shown = links.map((provider, number) => [
    number ? ", " : "",
    element("a", { href: provider.billing_url, rel: "noreferrer" }, provider.name),
  ]);
  byId("billing").replaceChildren(...shown.flat(), shown.length ? "." : "in its own settings.");
}

const named = (providers) => new Intl.ListFormat("en").format(providers.map((provider) => provider.name));

function row(provider, isSandbox) {
  const { check } = provider;
  let text = "no key";
  let name = "";
  if (isSandbox && provider.configured) [text, name] = ["sandbox", "good"];
  else if (check?.ok) [text, name] = [`key accepted, checked ${ago(check.at)}`, "good"];
  else if (check?.ok === false) [text, name] = [`key not accepted, checked ${ago(check.at)}`, "bad"];
  else if (check) [text, name] = [`key set, could not be checked ${ago(check.at)}`, "warns"];
  else if (provider.configured) text = "key set, not checked yet";
  const more = check && !check.ok ? [check.message, check.hint].filter(Boolean).join(" ") : "";
  return element(
    "li",
    {},
    element("strong", {}, provider.name),
    element("span", { class: `state ${name}` }, text),
    more ? element("p", { class: "detail" }, more) : null,
  );
}

/** Asks the providers again whose keys were not checked within an hour, which is free of charge. */
export async function checkKeys(status) {
  const isOld = ({ check }) => typeof check?.ok !== "boolean" || Date.now() - new Date(check.at) > 3600_000;
  const wanted = status.providers.filter((provider) => provider.configured && isOld(provider));
  if (wanted.length) await check(wanted);
  const again = button("Check the keys again", () => check(status.providers.filter((found) => found.configured)));
  if (status.providers.some((provider) => provider.configured)) {
    byId("providers").after(element("p", {}, again, " ", element("span", { class: "muted" }, "free of charge")));
  }
}

async function check(providers) {
  await Promise.all(providers.map((provider) => post(`test/${encodeURIComponent(provider.provider)}`)));
  const status = await get("status");
  showReady(status);
  const refused = status.providers.filter((provider) => provider.check?.ok === false);
  if (refused.length) say(`The key of ${refused.map((provider) => provider.name).join(", ")} was not accepted.`, true);
}
