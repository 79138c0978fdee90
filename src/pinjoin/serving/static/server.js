// Requests to the server this page came from.
const { base } = document.body.dataset;

/** Who looks, until the browser is closed; undefined where the server takes nothing in. */
export const { user } = document.body.dataset;

export const address = (path) => `${base}${path}`;

export const uniqueKey = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;

/** Send JSON; the answer's JSON. Errors carry a message for people, and the status (0: no answer). */
export async function post(path, content, options = {}) {
  let response;
  try {
    response = await fetch(address(path), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(content),
      ...options,
    });
  } catch {
    throw Object.assign(new Error("The server does not answer. Is this machine online?"), { status: 0 });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const message = answer.error?.message ?? `The server said ${response.status}.`;
    throw Object.assign(new Error(message), { status: response.status });
  }
  return answer;
}
