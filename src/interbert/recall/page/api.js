// The service's answers. Addresses are relative to where this file came from, so that a proxy's prefix is no matter.

export const HOME = new URL("../", import.meta.url);
const KEY = "interbert-key"; // of the tab, until it is closed
const LINES = "application/x-ndjson";
const MOST_IMAGES = 400; // that are kept where pictures need a key
const LARGEST = 1280; // pixels of the longer side of a picture that is made smaller

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

  // The same; meanwhile early({scored, total, items}) hears what was found since it heard last, in any order.
  async recallEarly(question, signal, early) {
    const answer = await this.#fetch(new URL("recall", this.base), {
      body: question,
      signal,
      accept: `${LINES}, application/json`,
    });
    if (!answer.headers.get("Content-Type")?.startsWith(LINES)) return valueOf(answer);
    for await (const line of lines(answer)) {
      if (line.answer) return line.answer;
      if (line.error) throw new ServiceError(line.status, line.error, line.retry_after ?? 0);
      early(line);
    }
    throw new ServiceError(0); // it broke off
  }

  explain = (id, topic, signal) =>
    this.#json(`products/${encodeURIComponent(id)}/explain?${new URLSearchParams({ topic })}`, { signal });
  topics = (cursor, signal) =>
    this.#json(`topics?${new URLSearchParams({ limit: 100, ...(cursor && { cursor }) })}`, { signal });
  topic = (name, signal) => this.#json(`topics/${encodeURIComponent(name)}`, { signal });
  // verdict: "keep", "drop", or null, which takes back what was said
  review = (name, product, verdict) =>
    this.#json(`topics/${encodeURIComponent(name)}/review`, { body: { product, verdict } });

  // Sets an <img> to a product's picture. A key cannot go with an address: then the picture is fetched.
  // side: of its place on the page, for which a smaller one will do; 0: the picture itself.
  async showImage(image, address, side) {
    const url = address && new URL(address.replace(/^\//, ""), this.base);
    if (!url || url.origin !== HOME.origin) return image.dispatchEvent(new Event("error"));
    if (side) url.searchParams.set("size", Math.min(LARGEST, Math.ceil(side * devicePixelRatio)));
    if (!sessionStorage.getItem(KEY)) return (image.src = url);
    try {
      return (image.src = await this.#kept(url));
    } catch {
      return image.dispatchEvent(new Event("error"));
    }
  }

  // A fetched picture's address; those that were asked for longest ago are forgotten.
  #kept(url) {
    const found = this.#images.get(url.href) ?? this.#blob(url);
    this.#images.delete(url.href);
    this.#images.set(url.href, found);
    if (this.#images.size > MOST_IMAGES) {
      const [oldest, blob] = this.#images.entries().next().value;
      this.#images.delete(oldest);
      blob.then(URL.revokeObjectURL, () => {});
    }
    return found;
  }

  async #blob(url) {
    const answer = await this.#fetch(url, {});
    return URL.createObjectURL(await answer.blob());
  }

  async #json(path, { body, signal } = {}) {
    return valueOf(await this.#fetch(new URL(path, this.base), { body, signal }));
  }

  async #fetch(url, { body, signal, accept }) {
    const key = sessionStorage.getItem(KEY);
    const headers = {
      ...(key && { Authorization: `Bearer ${key}` }),
      ...(body && { "Content-Type": "application/json" }),
      ...(accept && { Accept: accept }),
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

async function valueOf(answer) {
  try {
    return await answer.json();
  } catch (error) {
    throw error.name === "AbortError" ? error : new ServiceError(0);
  }
}

// The values of an answer that has one a line.
async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (rest + value).split("\n");
      rest = whole.pop();
      yield* whole.map((line) => JSON.parse(line));
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : new ServiceError(0);
  } finally {
    reader.cancel().catch(() => {});
  }
}
