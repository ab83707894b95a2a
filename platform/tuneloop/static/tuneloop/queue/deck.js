// The cards that the page holds: the first is on screen, the others wait hidden, so that
// the next question is there the moment one is answered.

import { Card } from "./card.js";
import { ask, queue, told } from "./server.js";

const LOOK_AGAIN_MS = 20_000;
const WANTED = Number(queue.dataset.handSize);

export class Deck {
    // onShow(card or null): another card is on screen.
    constructor(stage, outbox, { onShow, onLabelSet }) {
        Object.assign(this, { stage, outbox, onShow, onLabelSet });
        this.cards = [];
        this.left = new Map(); // by question, cards that were lost with something on them
        this.along = new Map(); // by question, those that are labelled along with it
        this.asking = null;
        this.wantsMore = false;
        this.empty = null; // what the server says where there is nothing
        this.#adopt(stage.querySelector("[data-hand]"));
        this.show();
        setInterval(() => {
            const isChoosing = this.empty?.querySelector("form");
            if (!this.cards.length && !isChoosing && document.visibilityState === "visible") this.refill();
        }, LOOK_AGAIN_MS);
    }

    get current() {
        return this.cards[0] ?? null;
    }

    show() {
        const current = this.current;
        for (const card of this.cards.slice(1)) if (card.shownAt !== null) card.hide();
        this.empty?.remove();
        this.stage.querySelector("[data-waiting]")?.remove();
        if (current) {
            if (current.shownAt === null) current.show();
        } else if (this.empty && !this.asking && !this.outbox.size) {
            this.stage.append(this.empty);
        } else {
            this.stage.insertAdjacentHTML("beforeend", told("waiting"));
        }
        this.onShow(current);
    }

    // Takes the card off the screen and shows the next. What is labelled along with it is
    // not asked any more; until the server knows, it may hand those out still.
    next(along = []) {
        const card = this.cards.shift();
        card.hide();
        card.element.remove();
        if (along.length) this.along.set(card.id, along);
        for (const id of along) this.#drop(id);
        this.show();
        this.refill();
        return card;
    }

    // The server has the verdict on a question, or refused it.
    answered(id) {
        this.along.delete(id);
        if (!this.current) this.refill();
    }

    // Puts a card on screen, before what is there.
    putFirst(card) {
        this.stage.querySelector("[data-hand]").prepend(card.element);
        this.cards.unshift(card);
        this.show();
    }

    // Gives up the lost card on screen; what is on it comes back with its question.
    giveUp() {
        const card = this.next();
        if (card.isTouched) this.left.set(card.id, card);
    }

    // Cards whose question somebody else holds by now.
    lose(ids) {
        for (const card of this.cards.filter((one) => ids.has(one.id) && !one.isLost)) {
            if (card === this.current || card.isTouched) {
                card.isLost = true;
                card.notice = told("gone");
                card.paint();
            } else {
                this.#drop(card.id);
            }
        }
        this.show();
        this.refill();
    }

    async refill() {
        if (this.asking) {
            this.wantsMore = true;
            return;
        }
        const held = this.cards.filter((card) => !card.isLost);
        if (held.length >= WANTED) return;
        const sent = [...this.outbox.items.map((item) => item.card.id), ...[...this.along.values()].flat()];
        const query = new URLSearchParams(queue.dataset.query);
        query.set("n", String(WANTED + sent.length));
        query.set("have", [...held.map((card) => card.id), ...sent].join(","));
        this.asking = ask(`next?${query}`).catch(() => ({ status: 0, text: "" }));
        const { status, text } = await this.asking;
        this.asking = null;
        if (status === 200) {
            const page = document.createElement("template");
            page.innerHTML = text;
            this.#adopt(page.content.querySelector("[data-hand]"));
        }
        this.show();
        if (this.wantsMore) {
            this.wantsMore = false;
            this.refill();
        }
    }

    // Cards of an answer as HTML, put before what is there.
    undone(text) {
        const page = document.createElement("template");
        page.innerHTML = text;
        const [card] = this.#cardsOf(page.content.querySelector("[data-hand]"));
        this.#drop(card.id); // a refill may have brought it already
        this.putFirst(card);
    }

    #adopt(hand) {
        this.empty?.remove();
        this.empty = hand.querySelector("[data-empty]");
        this.onLabelSet(hand.dataset.labelSet);
        const place = this.stage.querySelector("[data-hand]");
        for (const card of this.#cardsOf(hand)) {
            const known = this.cards.find((one) => one.id === card.id);
            if (known) {
                card.element.remove();
                if (known.isLost) known.revive(card.token, told("again"));
                else known.token = card.token;
            } else if (!this.outbox.has(card.id) && !this.#isAlong(card.id)) {
                const left = this.left.get(card.id);
                if (left) card.continue(left, told("again"));
                this.left.delete(card.id);
                place.append(card.element);
                this.cards.push(card);
            }
        }
        this.empty?.remove();
    }

    #isAlong(id) {
        return [...this.along.values()].some((ids) => ids.includes(id));
    }

    #cardsOf(hand) {
        return [...hand.querySelectorAll("[data-card]")].map((element) => new Card(element));
    }

    #drop(id) {
        const card = this.cards.find((one) => one.id === id);
        if (!card) return;
        card.element.remove();
        this.cards.splice(this.cards.indexOf(card), 1);
    }
}
