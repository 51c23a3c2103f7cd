// One topic's answer as it grows: first what is found while pictures are scored, then page by page, best first; cut at
// any threshold that it reaches.

const FIRST = 100,
  NEXT = 500; // products of a page

export class Search {
  items = [];
  total = 0; // above the threshold that was asked for
  facts = {}; // of the answer's first page
  progress = { scored: 0, total: 0 }; // of products, until the first page is whole; then null
  #cursor = null;
  #ended = false;
  #running = null;
  #notBefore = 0; // after a refusal, when the next products may be asked for

  constructor(service, question) {
    this.service = service;
    this.question = question;
  }

  // Asks for the first products, or for the next ones. Returns false where it asks already, or there are no more.
  // early(): some of the first have come, in `items`.
  async more(early = () => {}) {
    if (this.#running || this.#ended || performance.now() < this.#notBefore) return false;
    this.#running = new AbortController();
    const began = performance.now();
    try {
      const question = {
        ...this.question,
        limit: this.progress ? FIRST : NEXT,
        ...(this.#cursor && { cursor: this.#cursor }),
      };
      const { signal } = this.#running;
      const answer = this.progress
        ? await this.service.recallEarly(question, signal, (line) => early(this.#take(line)))
        : await this.service.recall(question, signal);
      if (this.progress) {
        this.facts = { ...answer, items: null, seconds: (performance.now() - began) / 1000 };
        this.items = [];
        this.progress = null;
      }
      this.items = this.items.concat(answer.items);
      this.total = answer.total_recalled;
      this.#cursor = answer.next_cursor;
      this.#ended = !this.#cursor || !answer.items.length;
      return true;
    } catch (error) {
      this.#notBefore = performance.now() + 1000 * Math.max(2, error.retrySeconds || 0);
      throw error;
    } finally {
      this.#running = null;
    }
  }

  #take({ scored, total, items }) {
    this.progress = { scored, total };
    this.items = this.items
      .concat(items)
      .sort((one, other) => other.score - one.score)
      .slice(0, FIRST);
  }

  stop() {
    this.#running?.abort();
  }

  // How many products are strictly above a threshold, and of those that are here how many; null where it cannot know.
  above(threshold) {
    if (threshold < this.question.threshold) return null;
    const here = firstAtOrBelow(this.items, Math.fround(threshold));
    if (this.progress) return { count: here, here };
    if (threshold === this.question.threshold) return { count: this.total, here };
    return here < this.items.length || this.#ended ? { count: here, here } : null;
  }
}

// The index of the first item whose score is not above; items stand best first. Scores are single floats.
function firstAtOrBelow(items, threshold) {
  let low = 0,
    high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Math.fround(items[middle].score) > threshold) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The precision that a threshold is expected to have, between the cuts of the run's calibration.
export function expectedPrecision(cuts, threshold) {
  const known = cuts.filter((cut) => cut.precision !== null);
  const after = known.findIndex((cut) => cut.threshold >= threshold);
  if (after < 0) return null;
  const [low, high] = [known[Math.max(0, after - 1)], known[after]];
  const share = high === low ? 0 : (threshold - low.threshold) / (high.threshold - low.threshold);
  return low.precision + Math.max(0, share) * (high.precision - low.precision);
}
