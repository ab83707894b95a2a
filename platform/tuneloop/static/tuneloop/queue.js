// The queue page. A verdict is taken at once: the next card is on the page already, and
// the answer goes to the outbox, which sends it in the background.

import { Deck } from "./queue/deck.js";
import { hold } from "./queue/holding.js";
import { listen } from "./queue/keys.js";
import { Outbox } from "./queue/outbox.js";
import * as panels from "./queue/panels.js";
import { Picker, follow } from "./queue/picker.js";
import { ask, noticeIn, queue, told } from "./queue/server.js";

const NOTICE_MS = 6000; // why nothing was taken back
const CALM_MS = 600; // a card that comes back unasked takes no key meant for another

const notice = document.getElementById("queue-notice");
const sent = queue.querySelector("[data-sent]");
let trouble = ""; // a notice of the outbox, whatever card is on screen
let calmUntil = 0;

const outbox = new Outbox({
    onChange(state, problem) {
        trouble = problem;
        say(state);
        showNotice();
    },
    onSaved: (card) => deck.answered(card.id),
    onRefused(card, why, isLost) {
        card.notice = why;
        card.isLost = isLost;
        calmUntil = performance.now() + CALM_MS;
        deck.answered(card.id);
        deck.putFirst(card);
        if (isLost) deck.refill(); // hands it out again, if nobody else took it
    },
});
const picker = new Picker({ onPick: choose, onLook: panels.look });
const deck = new Deck(document.getElementById("queue-stage"), outbox, {
    onShow(card) {
        picker.use(card);
        showNotice(card);
        const best = card?.$("[data-key]")?.dataset.code;
        panels.look(card?.isBlind ? "" : best);
    },
    async onLabelSet(key) {
        if (key === queue.dataset.labelSet) return;
        queue.dataset.labelSet = key;
        panels.forget();
        await follow(key);
    },
});

function showNotice(card = deck?.current) {
    const html = card?.notice || trouble;
    if (notice.dataset.shown === html) return;
    notice.dataset.shown = html;
    notice.innerHTML = html;
}

function say(state) {
    sent.hidden = !state && !sent.querySelector("[data-sent-text]").textContent;
    const badge = sent.querySelector("[data-sent-state]");
    badge.textContent = sent.dataset[state] ?? "";
    badge.hidden = !badge.textContent;
    badge.className = `tl-badge ${{ saved: "tl-good", unsaved: "tl-bad" }[state] ?? ""}`;
}

function sayWhat(card, words) {
    sent.hidden = false;
    sent.querySelector("[data-sent-text]").textContent = card.words;
    const code = sent.querySelector("[data-sent-code]");
    code.textContent = words;
    code.hidden = !words;
}

function count(step) {
    const done = queue.querySelector("[data-done]");
    done.textContent = String(Math.max(0, Number(done.textContent) + step));
}

// --- What a person does -------------------------------------------------------------

function choose(code) {
    const card = deck.current;
    if (!card || card.isLost) return;
    if (card.notice === told("choose")) card.notice = "";
    card.toggle(code);
    showNotice();
    panels.look(code);
    if (!card.waits) save();
}

// Gives the verdict on the card on screen; the next card is there before this returns.
function give(step, words) {
    const start = performance.now();
    const card = deck.current;
    card.notice = "";
    sayWhat(card, words);
    const { duplicates } = card;
    outbox.add(card, step);
    deck.next(duplicates);
    requestAnimationFrame(() => setTimeout(() => {
        performance.measure("queue-gap", { start, end: performance.now() });
    }));
    if (step !== "skip") count(1);
}

function save(reason = "") {
    const card = deck.current;
    if (!card || card.isLost) return;
    if (!card.chosen.size && !card.isNone) {
        if (card.waits) {
            card.notice = told("choose");
            showNotice();
        }
        return;
    }
    card.reason = reason;
    give(card.isReview ? "adjudicate" : "submit", [...card.chosen].join(", ") || sent.dataset.none);
}

function none() {
    const card = deck.current;
    if (!card || card.isLost) return;
    if (card.picksMany) {
        card.chooseNone();
        if (!card.isReview) save();
    } else if (queue.dataset.fallback) {
        choose(queue.dataset.fallback);
    }
}

function skip() {
    const card = deck.current;
    if (!card || card.isLost) return;
    const row = card.$("[data-reason-row]");
    if (row.hidden) {
        row.hidden = false;
        card.$("[data-reason]").focus();
    } else {
        card.reason = "";
        give("skip", sent.dataset.skipped);
    }
}

function next() {
    calmUntil = 0;
    if (deck.current?.isLost) deck.giveUp();
}

let undoing = Promise.resolve();

// One step back for each call, in turn, and only after all verdicts are with the server.
function undo() {
    say("undoing");
    sent.hidden = false;
    undoing = undoing.then(async () => {
        await outbox.idle();
        const { status, text } = await ask("undo", new FormData()).catch(() => ({ status: 0, text: "" }));
        say("");
        if (status === 200 && text.includes("data-hand")) {
            trouble = "";
            sent.hidden = true;
            deck.undone(text);
            count(-1);
        } else {
            trouble = noticeIn(text, status ? "broken" : "offline");
            const said = trouble;
            setTimeout(() => {
                if (trouble === said) trouble = "";
                showNotice();
            }, NOTICE_MS);
            deck.refill();
        }
        showNotice();
    });
}

const actions = {
    choose,
    save,
    none,
    skip,
    undo,
    next,
    retry: () => outbox.retry(),
    duplicates: () => deck.current?.toggleDuplicates(),
    drop: (code) => deck.current?.drop(code),
    keys: panels.showKeys,
    queues: panels.showQueues,
    history: () => deck.current && panels.showHistory(deck.current),
    isCalm: () => performance.now() >= calmUntil,
    areDialogsOpen: panels.isOpen,
    look: panels.look,
};

listen(deck, picker, actions);
hold(deck, outbox, ({ done, open, more }) => {
    if (!outbox.size) queue.querySelector("[data-done]").textContent = done;
    queue.querySelector("[data-open]").textContent = open.toLocaleString(document.documentElement.lang) + (more ? "+" : "");
});
