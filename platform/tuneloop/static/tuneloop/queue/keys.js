// Keyboard, mouse and touch on the queue page.

import { queue } from "./server.js";

export function listen(deck, picker, actions) {
    const focus = (selector) => deck.current?.$(selector)?.focus();

    const keys = {
        0: actions.none,
        "/": () => focus("[data-search]"),
        c: () => focus("[data-comment]"),
        s: actions.skip,
        u: actions.undo,
        d: actions.duplicates,
        h: actions.history,
        q: actions.queues,
        n: actions.next,
        "?": actions.keys,
    };
    const reasons = { g: "guideline_gap", a: "ambiguous", l: "slip" };

    function pageKey(event) {
        if (event.repeat) return; // a key held too long is one answer
        const key = event.key.toLowerCase();
        if (/^[1-9]$/.test(key)) {
            const pick = deck.current?.$(`[data-key="${key}"]`);
            if (pick && actions.isCalm()) actions.choose(pick.dataset.code);
        } else if (key === "enter") {
            if (event.target.closest("button, a, summary, select")) return; // it has its own
            actions.save();
        } else if (deck.current?.isReview && reasons[key]) {
            actions.save(reasons[key]);
        } else if (keys[key]) {
            if ((key === "0" || key === "s") && !actions.isCalm()) return;
            keys[key]();
        } else {
            return;
        }
        event.preventDefault();
    }

    function fieldKey(event, field) {
        const { search, comment, reason } = field.dataset;
        if (event.key === "Escape") {
            if (search !== undefined) picker.close();
            if (reason !== undefined) deck.current.$("[data-reason-row]").hidden = true;
            field.blur();
        } else if (search !== undefined) {
            if (picker.keydown(event)) event.preventDefault();
            else if (event.key === "Enter") {
                event.preventDefault();
                if (!field.value) actions.save();
            }
        } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            if (reason !== undefined) actions.skip();
            else if (comment !== undefined) field.blur(); // back to the keys 1 to 9
        }
    }

    document.addEventListener("keydown", (event) => {
        // An input method's own keys: Enter there picks a word.
        if (event.isComposing || event.keyCode === 229) return;
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (actions.areDialogsOpen()) return;
        const field = event.target.closest?.("input, textarea, select, [contenteditable]");
        if (!field) pageKey(event);
        else if (queue.contains(field)) fieldKey(event, field);
    });

    document.addEventListener("click", (event) => {
        const { target } = event;
        const action = target.closest("[data-action]")?.dataset.action;
        if (action) actions[action]();
        const settle = target.closest("[data-settle]");
        if (settle) actions.save(settle.dataset.settle);
        const chip = target.closest("[data-drop].tl-queue-chip");
        if (chip) actions.drop(chip.dataset.drop);
        const pick = target.closest("#queue-stage [data-code]");
        if (pick) {
            picker.close();
            actions.choose(pick.dataset.code);
        }
        if (!target.closest(".tl-queue-search")) picker.close({ clear: false });
    });

    queue.addEventListener("input", (event) => {
        if (event.target === picker.input) picker.search();
    });
    queue.addEventListener("focusin", (event) => {
        if (event.target === picker.input) picker.search();
        const pick = event.target.closest("[data-code]");
        if (pick) actions.look(pick.dataset.code);
    });
    queue.addEventListener("pointerover", (event) => {
        const pick = event.target.closest("[data-code]");
        if (pick && event.pointerType === "mouse") actions.look(pick.dataset.code);
    });
}
