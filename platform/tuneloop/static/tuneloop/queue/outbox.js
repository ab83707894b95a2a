// Verdicts on their way: sent one after the other, in the order in which they were given,
// while the page has long gone on.

import { ask, noticeIn, told } from "./server.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;
const TRIES_AT_A_FAILURE = 3; // of the server itself; a connection is tried for ever

export class Outbox {
    // onChange(state, notice): "saving", "saved", "unsaved"; a notice while it cannot send.
    // onRefused(card, notice, isLost): the server does not take this verdict.
    constructor({ onChange, onRefused, onSaved }) {
        Object.assign(this, { onChange, onRefused, onSaved });
        this.items = [];
        this.isSending = false;
        this.wake = null;
        this.waiters = [];
        window.addEventListener("online", () => this.retry());
        document.addEventListener("visibilitychange", () => {
            if (document.visibilityState === "visible") this.retry();
        });
    }

    get size() {
        return this.items.length;
    }

    has(id) {
        return this.items.some((item) => item.card.id === id);
    }

    add(card, step) {
        this.items.push({ card, step, form: card.form(), failures: 0 });
        this.onChange("saving", "");
        if (!this.isSending) this.#send();
    }

    // Resolves once nothing is left to send.
    idle() {
        return this.items.length ? new Promise((done) => this.waiters.push(done)) : Promise.resolve();
    }

    retry() {
        this.wake?.();
    }

    async #send() {
        this.isSending = true;
        let wait = FIRST_WAIT_MS;
        while (this.items.length) {
            const item = this.items[0];
            const { status, text } = await ask(item.step, item.form).catch(() => ({ status: 0, text: "" }));
            if (status >= 200 && status < 300) {
                this.items.shift();
                wait = FIRST_WAIT_MS;
                this.onSaved(item.card);
                this.onChange(this.items.length ? "saving" : "saved", "");
            } else if (status === 401) {
                this.onChange("unsaved", noticeIn(text, "offline"));
                await this.#pause(LONGEST_WAIT_MS);
            } else if (status === 0 || status >= 500) {
                item.failures += status === 500;
                if (item.failures >= TRIES_AT_A_FAILURE) {
                    this.#refuse(item, told("failed"), false);
                    continue;
                }
                this.onChange("unsaved", told("offline"));
                await this.#pause(wait);
                wait = Math.min(2 * wait, LONGEST_WAIT_MS);
            } else {
                this.#refuse(item, noticeIn(text, "broken"), status === 409);
            }
        }
        this.isSending = false;
        for (const done of this.waiters.splice(0)) done();
    }

    #refuse(item, notice, isLost) {
        this.items.shift();
        this.onChange(this.items.length ? "saving" : "", "");
        this.onRefused(item.card, notice, isLost);
    }

    #pause(ms) {
        return new Promise((done) => {
            const timer = setTimeout(done, ms);
            this.wake = () => {
                clearTimeout(timer);
                done();
            };
        }).finally(() => {
            this.wake = null;
        });
    }
}
