// One question on the page: what is chosen, typed and asked for it lives here and in its
// element until the server has it, whether the card is on screen or not.

import { queue } from "./server.js";

const isMulti = "multi" in queue.dataset;

export class Card {
    constructor(element) {
        this.element = element;
        this.id = element.dataset.question;
        this.token = element.dataset.token;
        this.isReview = "review" in element.dataset;
        this.isBlind = "blind" in element.dataset;
        this.chosen = new Set();
        this.isNone = false; // none of the intents, on purpose
        this.reason = ""; // a reviewer's
        this.withDuplicates = false;
        this.notice = ""; // shown while the card is on screen
        this.isLost = false; // somebody else holds the question
        this.spentMs = 0;
        this.shownAt = null;
    }

    $(selector) {
        return this.element.querySelector(selector);
    }

    get picksMany() {
        return isMulti;
    }

    // Whether a choice waits for Enter instead of being the verdict.
    get waits() {
        return isMulti || this.isReview;
    }

    get isTouched() {
        return Boolean(this.chosen.size || this.isNone || this.$("[data-comment]").value.trim());
    }

    get duplicates() {
        const toggle = this.$("[data-duplicates]");
        return this.withDuplicates && toggle ? toggle.dataset.duplicates.split(",") : [];
    }

    get words() {
        return this.$("[data-text]").textContent;
    }

    show() {
        this.element.hidden = false;
        this.shownAt = performance.now();
        this.paint();
        this.$("[data-text]").focus();
    }

    hide() {
        if (this.shownAt !== null) this.spentMs += performance.now() - this.shownAt;
        this.shownAt = null;
        this.element.hidden = true;
    }

    toggle(code) {
        if (this.picksMany) {
            if (!this.chosen.delete(code)) this.chosen.add(code);
        } else {
            this.chosen = new Set([code]);
        }
        this.isNone = false;
        this.paint();
    }

    drop(code) {
        this.chosen.delete(code);
        this.isNone = false;
        this.paint();
    }

    chooseNone() {
        this.chosen = new Set();
        this.isNone = true;
        this.paint();
    }

    toggleDuplicates() {
        const toggle = this.$("[data-duplicates]");
        if (!toggle) return;
        this.withDuplicates = !this.withDuplicates;
        toggle.setAttribute("aria-pressed", String(this.withDuplicates));
    }

    paint() {
        for (const pick of this.element.querySelectorAll("[data-code]")) {
            pick.setAttribute("aria-pressed", String(this.chosen.has(pick.dataset.code)));
        }
        const chips = this.$("[data-chips]");
        const codes = this.isNone ? [""] : [...this.chosen];
        chips.hidden = !codes.length || (!this.waits && !this.notice);
        chips.replaceChildren(...codes.map((code) => {
            const chip = document.createElement("button");
            chip.type = "button";
            chip.className = "tl-queue-chip";
            chip.dataset.drop = code;
            chip.title = chips.dataset.drop;
            chip.textContent = code || chips.dataset.none;
            return chip;
        }));
        this.element.classList.toggle("tl-queue-lost", this.isLost);
    }

    // The verdict as the server takes it.
    form() {
        const form = new FormData();
        form.set("question", this.id);
        form.set("token", this.token);
        for (const code of this.chosen) form.append("intent", code);
        if (this.isNone) form.set("none", "1");
        form.set("comment", this.$("[data-comment]").value);
        form.set("reason", this.reason || this.$("[data-reason]").value);
        if (this.withDuplicates) form.set("duplicates", "1");
        const shown = this.shownAt === null ? 0 : performance.now() - this.shownAt;
        form.set("time_spent_ms", String(Math.round(this.spentMs + shown)));
        return form;
    }

    // The question is held again: what was chosen and typed goes on from here.
    revive(token, notice) {
        this.token = token;
        this.isLost = false;
        this.notice = notice;
        this.paint();
    }

    // Takes over what was left on another card of the same question.
    continue(left, notice) {
        this.chosen = left.chosen;
        this.isNone = left.isNone;
        this.$("[data-comment]").value = left.$("[data-comment]").value;
        if (left.withDuplicates) this.toggleDuplicates();
        this.notice = notice;
        this.paint();
    }
}
