// Builds elements, and writes amounts and times. Texts are only ever set as text.

export const byId = (id) => document.getElementById(id);

/** An element: `element("p", {class: "lead"}, "text", child)`. Functions become listeners, null is nothing. */
export function element(name, attributes = {}, ...children) {
  const made = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** $1.37, and $0.041 below ten cents. */
export function usd(amount) {
  if (amount === null || amount === undefined) return "unknown";
  if (amount !== 0 && Math.abs(amount) < 0.1) {
    const digits = amount.toFixed(4);
    if (Number(digits) === 0) return "under $0.0001";
    return `$${digits.replace(/0{1,2}$/, "")}`;
  }
  const options = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return `$${amount.toLocaleString("en-US", options)}`;
}

/** "up to $1.37", and "under $0.0001" of what is too small to be shown. */
export function upTo(amount) {
  const text = usd(amount);
  return text.startsWith("$") ? `up to ${text}` : text;
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en-US")} ${number === 1 ? one : many}`;

export function seconds(number) {
  if (number === null || number === undefined) return "";
  return number < 100 ? `${number < 10 ? number.toFixed(1) : Math.round(number)} s` : `${Math.round(number / 60)} min`;
}

/** The time of day today, and the day before that. */
export function when(iso) {
  const at = new Date(iso);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

export function ago(iso) {
  const minutes = Math.round((Date.now() - new Date(iso)) / 60000);
  if (minutes < 1) return "just now";
  return minutes < 60 ? `${count(minutes, "minute")} ago` : `at ${when(iso)}`;
}

/** Says the result of what the user did; screen readers read it. */
export function say(text, isBad = false) {
  const status = byId("status");
  status.classList.toggle("bad", isBad);
  status.textContent = text;
}

/** A button that is disabled while what it starts is running, and shows what went wrong. */
export function button(text, act, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      await act(made);
    } catch (error) {
      say(error.message, true);
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

/** A bar of parts `[[className, amount], …]` whose whole length is `total`. */
export function bar(parts, total, label) {
  let x = 0;
  const svg = element("svg:svg", { class: "bar", viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img" });
  svg.setAttribute("aria-label", label);
  svg.append(element("svg:rect", { class: "empty", x: 0, y: 0, width: 1000, height: 10 }));
  for (const [name, amount] of parts) {
    const width = total > 0 ? Math.min((1000 * amount) / total, 1000 - x) : 0;
    if (width > 0) svg.append(element("svg:rect", { class: name, x, y: 0, width, height: 10 }));
    x += width;
  }
  return svg;
}
