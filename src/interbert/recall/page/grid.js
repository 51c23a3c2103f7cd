// A grid of any number of cards, of which only those near the screen exist. Arrow keys walk it, Tab enters it once.

const GAP = 16; // pixels
const USED = "a, button";
const AHEAD = 600; // pixels above and below the screen that have cards
const MORE = 2_000; // pixels before the end at which more are asked for

export class Grid {
  #cards = new Map(); // index -> its <li>
  #items = [];
  #count = 0;
  #active = 0; // the card that Tab reaches
  #drawing = 0;
  #shape = ""; // of what was drawn

  // card(item, index): the <li> of an item; the first button or link in it has the focus.  more(): asks for more items.
  // narrowest, caption: pixels; a card is at least so wide, and so much higher than wide.
  constructor(list, { card, more, narrowest = 168, caption = 84 }) {
    Object.assign(this, { list, card, more, narrowest, caption });
    addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.#soon()).observe(list);
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", (event) => (this.#active = this.#indexOf(event.target) ?? this.#active));
  }

  // Shows the first `count` of `items`, best first. Cards of the same items stay as they are; where the one that has the
  // focus has moved, the focus goes along.
  show(items, count = items.length) {
    const held = this.list.contains(document.activeElement) && this.#items[this.#active]?.id;
    for (const [index, card] of this.#cards) {
      if (
        index >= count ||
        items[index].id !== this.#items[index].id ||
        items[index].score !== this.#items[index].score
      )
        this.#remove(index, card);
    }
    this.#items = items;
    this.#count = count;
    this.#draw();
    if (held === false || !count || this.list.contains(document.activeElement)) return;
    const at = items.findIndex((item) => item.id === held);
    this.focus(at >= 0 && at < count ? at : this.#active);
  }

  // Draws every card anew.
  redraw() {
    for (const [index, card] of this.#cards) this.#remove(index, card);
    this.#shape = "";
    this.#draw();
  }

  focus(index) {
    this.#active = Math.max(0, Math.min(index, this.#count - 1));
    this.#reveal(this.#active);
    this.#draw();
    this.#cards.get(this.#active)?.querySelector(USED).focus({ preventScroll: true });
  }

  #soon() {
    this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  #layout() {
    const width = this.list.clientWidth;
    const columns = Math.max(2, Math.floor((width + GAP) / (this.narrowest + GAP)));
    const side = (width - GAP * (columns - 1)) / columns;
    return { columns, side, across: side + GAP, down: side + this.caption + GAP };
  }

  // Reads the page's measures first and only then changes it, so that the browser lays it out once.
  #draw() {
    cancelAnimationFrame(this.#drawing);
    this.#drawing = 0;
    const { columns, side, across, down } = this.#layout();
    const top = -this.list.getBoundingClientRect().top;
    const height = Math.max(0, Math.ceil(this.#count / columns) * down - GAP);
    const first = Math.max(0, Math.floor((top - AHEAD) / down)) * columns;
    const end = Math.min(this.#count, Math.ceil((top + innerHeight + AHEAD) / down) * columns);
    const place = (card, index) =>
      (card.style.transform = `translate(${(index % columns) * across}px, ${Math.floor(index / columns) * down}px)`);
    const focused = document.activeElement;

    for (const [index, card] of this.#cards) {
      if ((index < first || index >= end) && !card.contains(focused)) this.#remove(index, card);
    }
    if (!this.list.contains(focused) && (this.#active < first || this.#active >= end)) {
      this.#active = Math.min(Math.max(0, Math.ceil(top / down) * columns), Math.max(0, this.#count - 1));
    }
    for (let index = first; index < end; index++) this.#cards.has(index) || place(this.#insert(index), index);
    this.#reach();
    const shape = `${this.#count} ${columns} ${side}`;
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.list.style.height = `${height}px`;
      this.list.style.setProperty("--side", `${side}px`);
      this.list.style.setProperty("--caption", `${this.caption}px`);
      for (const [index, card] of this.#cards) {
        place(card, index);
        card.setAttribute("aria-setsize", this.#count);
      }
    }
    if (height - top < innerHeight + MORE) this.more();
  }

  // Tab reaches the active card, and no other.
  #reach() {
    for (const [index, card] of this.#cards) {
      const reached = index === this.#active ? 0 : -1;
      for (const used of card.querySelectorAll(USED)) if (used.tabIndex !== reached) used.tabIndex = reached;
    }
  }

  #insert(index) {
    const card = this.card(this.#items[index], index);
    card.dataset.index = index;
    card.setAttribute("aria-posinset", index + 1);
    card.setAttribute("aria-setsize", this.#count);
    let before = this.list.lastElementChild; // read aloud in order
    while (before && Number(before.dataset.index) > index) before = before.previousElementSibling;
    if (before) before.after(card);
    else this.list.prepend(card);
    this.#cards.set(index, card);
    return card;
  }

  #remove(index, card) {
    card.remove();
    this.#cards.delete(index);
  }

  #indexOf(target) {
    const card = target.closest("li");
    return card ? Number(card.dataset.index) : undefined;
  }

  #reveal(index) {
    const { columns, down } = this.#layout();
    const above = document.querySelector(".ask")?.getBoundingClientRect().bottom ?? 0; // it may stick to the top
    const list = this.list.getBoundingClientRect().top;
    const top = list + Math.floor(index / columns) * down;
    if (top < Math.max(0, above)) scrollBy(0, top - Math.max(0, above) - GAP);
    else if (top + down > innerHeight) scrollBy(0, top + down - innerHeight);
  }

  #key(event) {
    const index = this.#indexOf(event.target);
    if (index === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const { columns } = this.#layout();
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -index };
    const step = event.key === "End" ? this.#count - 1 - index : steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    if (index + step >= 0 && index + step < this.#count) this.focus(index + step);
  }
}
