// A grid of any number of cards, of which only those near the screen exist. Arrow keys walk it, Tab enters it once.

const NARROWEST = 168, GAP = 16, CAPTION = 84; // pixels; the picture is as high as it is wide
const AHEAD = 600; // pixels above and below the screen that have cards
const MORE = 2_000; // pixels before the end at which more are asked for

export class Grid {
  #cards = new Map(); // index -> its <li>
  #items = [];
  #count = 0;
  #active = 0; // the card that Tab reaches
  #drawing = 0;

  // card(item, index): the <li> of an item, with one button in it.  more(): asks for more items.
  constructor(list, { card, more }) {
    Object.assign(this, { list, card, more });
    addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.#soon()).observe(list);
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", (event) => (this.#active = this.#indexOf(event.target) ?? this.#active));
  }

  // Shows the first `count` of `items`, best first. Cards of the same items stay as they are.
  show(items, count = items.length) {
    for (const [index, card] of this.#cards) {
      if (index >= count || items[index].id !== this.#items[index].id || items[index].score !== this.#items[index].score)
        this.#remove(index, card);
    }
    this.#items = items;
    this.#count = count;
    this.#draw();
  }

  // Draws every card anew.
  redraw() {
    for (const [index, card] of this.#cards) this.#remove(index, card);
    this.#draw();
  }

  focus(index) {
    this.#active = Math.max(0, Math.min(index, this.#count - 1));
    this.#reveal(this.#active);
    this.#draw();
    this.#cards.get(this.#active)?.querySelector("button").focus({ preventScroll: true });
  }

  #soon() {
    this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  #layout() {
    const width = this.list.clientWidth;
    const columns = Math.max(2, Math.floor((width + GAP) / (NARROWEST + GAP)));
    const side = (width - GAP * (columns - 1)) / columns;
    return { columns, side, across: side + GAP, down: side + CAPTION + GAP };
  }

  #draw() {
    cancelAnimationFrame(this.#drawing);
    this.#drawing = 0;
    const { columns, side, across, down } = this.#layout();
    const top = -this.list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((top - AHEAD) / down)) * columns;
    const end = Math.min(this.#count, Math.ceil((top + innerHeight + AHEAD) / down) * columns);
    this.list.style.height = `${Math.max(0, Math.ceil(this.#count / columns) * down - GAP)}px`;
    for (const [index, card] of this.#cards) {
      if ((index < first || index >= end) && !card.contains(document.activeElement)) this.#remove(index, card);
    }
    if (!this.list.contains(document.activeElement) && (this.#active < first || this.#active >= end)) {
      this.#active = Math.min(Math.max(0, Math.ceil(top / down) * columns), Math.max(0, this.#count - 1));
    }
    for (let index = first; index < end; index++) this.#cards.has(index) || this.#insert(index);
    for (const [index, card] of this.#cards) {
      card.style.width = `${side}px`;
      card.style.height = `${side + CAPTION}px`;
      card.style.transform = `translate(${(index % columns) * across}px, ${Math.floor(index / columns) * down}px)`;
      card.setAttribute("aria-setsize", this.#count);
      card.querySelector("button").tabIndex = index === this.#active ? 0 : -1;
    }
    if (this.list.getBoundingClientRect().bottom < innerHeight + MORE) this.more();
  }

  #insert(index) {
    const card = this.card(this.#items[index], index);
    card.dataset.index = index;
    card.setAttribute("aria-posinset", index + 1);
    const after = [...this.list.children].find((other) => Number(other.dataset.index) > index);
    this.list.insertBefore(card, after ?? null); // read aloud in order
    this.#cards.set(index, card);
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
