// Type-ahead over all intents: code, name, description, and pinyin of Chinese words.

import { ask, queue } from "./server.js";

const MAX_FOUND = 50;
let intents = JSON.parse(document.getElementById("queue-intents").textContent);
let key = queue.dataset.labelSet;

// 0 best; null where nothing matches.
function rank(intent, words) {
    const code = intent.code.toLowerCase();
    const name = intent.name.toLowerCase();
    const all = `${code} ${name} ${intent.description.toLowerCase()} ${intent.pinyin}`;
    if (!words.every((word) => all.includes(word))) return null;
    const [first] = words;
    const spelt = intent.pinyin.split(" ");
    if (code === first || name === first) return 0;
    if ([code, name, ...spelt].some((word) => word.startsWith(first))) return 1;
    if (code.includes(first) || name.includes(first)) return 2;
    return 3;
}

function find(typed) {
    const words = typed.toLowerCase().normalize("NFKC").split(/\s+/).filter(Boolean);
    return intents
        .map((intent) => [words.length ? rank(intent, words) : 0, intent])
        .filter(([place]) => place !== null)
        .sort(([a], [b]) => a - b)
        .slice(0, MAX_FOUND)
        .map(([, intent]) => intent);
}

export const intentOf = (code) => intents.find((one) => one.code === code);

// Reads the list anew where the label set was edited since the page was made.
export async function follow(newKey) {
    if (!newKey || newKey === key) return;
    key = newKey;
    const { status, text } = await ask("intents").catch(() => ({ status: 0 }));
    if (status === 200) ({ key, intents } = JSON.parse(text));
}

export class Picker {
    // onPick(code): chosen with Enter; onLook(code): looked at.
    constructor({ onPick, onLook }) {
        Object.assign(this, { onPick, onLook });
        this.found = [];
        this.active = -1;
    }

    // The search field that the person is in, on the card on screen.
    use(card) {
        this.input = card?.$("[data-search]");
        this.list = card?.$("[data-found]");
        this.card = card;
    }

    search() {
        const typed = this.input.value;
        this.found = find(typed);
        this.active = typed.trim() && this.found.length ? 0 : -1;
        this.#paint();
    }

    close({ clear = true } = {}) {
        if (!this.input) return;
        if (clear) this.input.value = "";
        this.list.hidden = true;
        this.input.setAttribute("aria-expanded", "false");
        this.input.removeAttribute("aria-activedescendant");
    }

    // Whether the key was the picker's.
    keydown(event) {
        const { length } = this.found;
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            if (this.list.hidden) this.search();
            else if (length) {
                const step = event.key === "ArrowDown" ? 1 : -1;
                const from = this.active < 0 && step < 0 ? 0 : this.active;
                this.active = (from + step + length) % length;
                this.#paint();
            }
            return true;
        }
        if (event.key !== "Enter" || !this.found[this.active]) return false;
        const { code } = this.found[this.active];
        this.close();
        this.active = -1;
        this.onPick(code);
        return true;
    }

    #paint() {
        this.list.hidden = false;
        this.input.setAttribute("aria-expanded", "true");
        this.list.replaceChildren(...this.found.map((intent, place) => {
            const item = document.createElement("li");
            item.id = `${this.list.id}-${place}`;
            item.role = "option";
            item.dataset.code = intent.code;
            item.setAttribute("aria-selected", String(place === this.active));
            item.setAttribute("aria-pressed", String(this.card.chosen.has(intent.code)));
            item.append(
                part("tl-queue-pick-name", intent.name || intent.code),
                part("tl-queue-pick-code", intent.code),
                part("tl-queue-found-description", intent.description),
            );
            return item;
        }));
        if (!this.found.length) {
            const nothing = document.createElement("li");
            nothing.className = "tl-quiet";
            nothing.textContent = this.list.dataset.nothing;
            this.list.append(nothing);
        }
        const active = this.list.children[this.active];
        this.input.setAttribute("aria-activedescendant", active?.id ?? "");
        active?.scrollIntoView({ block: "nearest" });
        if (this.found[this.active]) this.onLook(this.found[this.active].code);
    }
}

function part(className, text) {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = text;
    return span;
}
