// What will it cost? A price from the catalogue, for a model, a size, a quality and a number of images.

import { get } from "./api.js";
import { byId, count, element, seconds, upTo, usd } from "./show.js";

export async function showPrices() {
  const models = await get("prices");
  byId("price").hidden = !models.length;
  if (!models.length) return;
  const form = byId("price-form");
  const { model, size, quality, n } = form.elements;
  const chosen = () => models[model.selectedIndex];
  const options = (list, texts) => list.replaceChildren(...texts.map((text) => element("option", {}, text)));
  options(model, models.map((found) => `${found.provider}: ${found.name}`));
  const choose = () => {
    const found = chosen();
    options(size, found.sizes);
    // The usual size has a narrower price than what the model may choose.
    size.selectedIndex = Math.max(0, found.sizes.findIndex((text) => text.startsWith("1024x1024")));
    options(quality, found.qualities);
    byId("price-quality").hidden = !found.qualities.length;
  };
  const answer = () => {
    const found = chosen();
    const price = found.prices[size.selectedIndex]?.[Math.max(0, quality.selectedIndex)];
    byId("price-answer").textContent = sentence(found, price, Number(n.value));
  };
  model.addEventListener("change", choose);
  form.addEventListener("input", answer);
  form.addEventListener("change", answer);
  form.addEventListener("submit", (event) => event.preventDefault());
  choose();
  answer();
}

function sentence(model, price, n) {
  if (!Number.isInteger(n) || n < 1 || n > 10) return "Choose 1 to 10 images.";
  if (!price || price.at_most_usd === null) return "The price is not known.";
  const most = price.at_most_usd * n;
  const parts = [];
  if (price.usd === null) parts.push(upTo(most));
  else if (usd(price.usd * n) === usd(most)) parts.push(usd(most));
  else parts.push(`${usd(price.usd * n)}, ${upTo(most)}`);
  if (model.usual_s !== null) parts.push(`usually ${seconds(model.usual_s)}`);
  const day = model.prices_as_of ? ` Prices of ${model.prices_as_of}.` : "";
  const previews = model.previews ? ` ${count(model.previews, "preview")} of each image included.` : "";
  return `${parts.join(", ")}.${previews} The prompt and input images cost a little more.${day}`;
}
