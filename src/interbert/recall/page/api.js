// The service's answers. Addresses are relative to where this file came from, so that a proxy's prefix is no matter.

export const HOME = new URL("../", import.meta.url);
const KEY = "interbert-key"; // of the tab, until it is closed

// What the service said no with. status: 0 where it did not answer.
export class ServiceError extends Error {
  constructor(status, error = {}, retrySeconds = 0) {
    super(error.message || `HTTP ${status}`);
    Object.assign(this, {
      status,
      code: error.code,
      param: error.param,
      requestId: error.request_id,
      retrySeconds,
    });
  }
}

export const saveKey = (key) => sessionStorage.setItem(KEY, key);

export class Service {
  #images = new Map(); // address -> promise of a blob's address, where pictures need a key

  constructor(base = HOME) {
    this.base = new URL(base, HOME);
    if (this.base.origin !== HOME.origin)
      throw new Error("the other model must be served under this page's origin");
  }

  info = (signal) => this.#json("info", { signal });
  recall = (question, signal) => this.#json("recall", { body: question, signal });
  explain = (id, topic, signal) =>
    this.#json(`products/${encodeURIComponent(id)}/explain?${new URLSearchParams({ topic })}`, { signal });
  topics = (cursor, signal) =>
    this.#json(`topics?${new URLSearchParams({ limit: 100, ...(cursor && { cursor }) })}`, { signal });
  topic = (name, signal) => this.#json(`topics/${encodeURIComponent(name)}`, { signal });
  // verdict: "keep", "drop", or null, which takes back what was said
  review = (name, product, verdict) =>
    this.#json(`topics/${encodeURIComponent(name)}/review`, { body: { product, verdict } });

  // Sets an <img> to a product's picture. A key cannot go with an address: then the picture is fetched.
  async showImage(image, address) {
    const url = address && new URL(address.replace(/^\//, ""), this.base);
    if (!url || url.origin !== HOME.origin) return image.dispatchEvent(new Event("error"));
    if (!sessionStorage.getItem(KEY)) return (image.src = url);
    if (!this.#images.has(url.href)) this.#images.set(url.href, this.#blob(url));
    try {
      return (image.src = await this.#images.get(url.href));
    } catch {
      return image.dispatchEvent(new Event("error"));
    }
  }

  async #blob(url) {
    const answer = await this.#fetch(url, {});
    return URL.createObjectURL(await answer.blob());
  }

  async #json(path, { body, signal } = {}) {
    const answer = await this.#fetch(new URL(path, this.base), { body, signal });
    try {
      return await answer.json();
    } catch (error) {
      throw error.name === "AbortError" ? error : new ServiceError(0);
    }
  }

  async #fetch(url, { body, signal }) {
    const key = sessionStorage.getItem(KEY);
    const headers = {
      ...(key && { Authorization: `Bearer ${key}` }),
      ...(body && { "Content-Type": "application/json" }),
    };
    const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal };
    const answer = await fetch(url, options).catch((error) => {
      throw error.name === "AbortError" ? error : new ServiceError(0);
    });
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    throw new ServiceError(answer.status, said.error, Number(answer.headers.get("Retry-After")) || 0);
  }
}
