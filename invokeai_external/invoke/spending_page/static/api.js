// Asks the plugin's routes, as the user who is signed in to Invoke in this browser.

const BASE = "../api/v1/external/";
const TOKEN = "auth_token";

/** What a response says that is not what was asked for. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function get(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "");
  const query = new URLSearchParams(given).toString();
  return ask("GET", query ? `${path}?${query}` : path);
}

export function post(path, body = {}) {
  return ask("POST", path, body);
}

async function ask(method, path, body) {
  const token = localStorage.getItem(TOKEN);
  // No other site can send this header, so no other site can change anything here.
  const headers = { "X-InvokeAI-External": "page" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(BASE + path, { method, headers, body: JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new ApiError(0, "Invoke does not respond. Is it running?");
  }
  const refreshed = response.headers.get("X-Refreshed-Token");
  // Meanwhile another user may have signed in.
  if (refreshed && localStorage.getItem(TOKEN) === token) localStorage.setItem(TOKEN, refreshed);
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, messageOf(content, response.status));
  return content;
}

function messageOf(content, status) {
  const detail = content.detail;
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail) && detail.length) return detail.map((part) => part.msg).join(" ");
  return `Invoke responded with the status ${status}.`;
}
