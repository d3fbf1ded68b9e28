// The defaults of the models' options: a list of those that are set, and a form for another one.

import { post } from "./api.js";
import { byId, button, element, say } from "./show.js";

const label = (option) => option.replaceAll("_", " ");

export function showDefaults(models) {
  const form = byId("defaults-form");
  const { model, option } = form.elements;
  const of = (reference) => models.find((found) => found.model === reference);
  const choices = (select, list) => select.replaceChildren(...list.map(([value, text]) => element("option", { value }, text)));
  const chooseValue = () => {
    const { options, defaults } = of(model.value);
    byId("defaults-value").replaceChildren("Value ", field(options[option.value], defaults[option.value]));
  };
  const chooseOption = () => {
    choices(option, Object.keys(of(model.value).options).map((name) => [name, label(name)]));
    chooseValue();
  };
  const store = async (reference, name, value) => {
    ({ models } = await post("settings/defaults", { model: reference, option: name, value }));
    list();
    chooseValue();
    const what = `${label(name)} of ${of(reference)?.name ?? reference}`;
    say(value === null ? `Removed: ${what}.` : `Saved: ${what} is ${value}.`);
  };
  const list = () => {
    const rows = models.flatMap((found) =>
      Object.entries(found.defaults).map(([name, value]) => row(found, name, value, store)),
    );
    byId("defaults-list").replaceChildren(...(rows.length ? rows : [element("li", { class: "muted" }, "No default is set.")]));
  };
  form.hidden = !models.length;
  list();
  if (!models.length) return;
  choices(model, models.map((found) => [found.model, `${found.provider}: ${found.name}`]));
  model.addEventListener("change", chooseOption);
  option.addEventListener("change", chooseValue);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { value, type } = form.elements.value;
    store(model.value, option.value, type === "number" ? Number(value) : value).catch((error) => say(error.message, true));
  });
  chooseOption();
}

function row(model, name, value, store) {
  const remove = async () => {
    await store(model.model, name, null);
    byId("defaults-title").focus();
  };
  const text = `${model.name}: ${label(name)} ${value}`;
  return element("li", {}, element("span", {}, text), button("Remove", remove, { "aria-label": `Remove: ${text}` }));
}

/** A field for the values that an option can have. */
function field(option, value) {
  const common = { name: "value", required: true };
  if (option.values) {
    const list = option.values.map((each) => element("option", { selected: each === value }, each));
    return element("select", common, list);
  }
  if (option.max_characters) return element("input", { ...common, type: "text", maxlength: option.max_characters, value });
  const { minimum: min, maximum: max, whole } = option;
  return element("input", { ...common, type: "number", min, max, step: whole ? 1 : "any", inputmode: "decimal", value });
}
