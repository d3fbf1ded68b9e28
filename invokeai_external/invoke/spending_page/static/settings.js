// The settings of everybody's runs, for administrators.

import { get, post } from "./api.js";
import { showDefaults } from "./defaults.js";
import { byId, say } from "./show.js";

export async function showSettings() {
  const form = byId("settings-form");
  let settings = await get("settings");
  const fields = Object.fromEntries(["previews", "look_ahead", "concurrency", "strip_prompt_weights"].map((name) => [name, form.elements[name]]));
  const fill = () => {
    for (const [name, field] of Object.entries(fields)) field.value = String(settings[name]);
  };
  const save = async () => {
    const changed = Object.entries(fields).filter(([name, field]) => field.value !== String(settings[name]));
    for (const [name, field] of changed) {
      settings = await post("settings", { name, value: JSON.parse(field.value) });
    }
    say(changed.length ? "Saved: Settings." : "Nothing has changed: Settings.");
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save()
      .catch((error) => say(error.message, true))
      .finally(fill);
  });
  fill();
  showDefaults(settings.models);
  byId("settings").hidden = false;
}
