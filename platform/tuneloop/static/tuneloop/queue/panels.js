// What the page shows on demand: keys, queues, a question's history, an intent's
// guidelines beside the card.

import { intentOf } from "./picker.js";
import { ask, queue, told } from "./server.js";

const LOOK_MS = 150; // a glance on the way to another intent asks for nothing

const dialogs = {
    keys: document.getElementById("queue-keys"),
    queues: document.getElementById("queue-queues"),
    history: document.getElementById("queue-history"),
};

export const isOpen = () => Object.values(dialogs).some((dialog) => dialog.open);

export const showKeys = () => dialogs.keys.showModal();

export const showQueues = () => load(dialogs.queues, `queues${queue.dataset.query}`);

export const showHistory = (card) => load(dialogs.history, `history?question=${card.id}`);

async function load(dialog, step) {
    const { status, text } = await ask(step).catch(() => ({ status: 0 }));
    dialog.innerHTML = status === 200 ? text : told("offline");
    if (!dialog.open) dialog.showModal();
}

for (const dialog of Object.values(dialogs)) {
    dialog.addEventListener("click", (event) => {
        if (event.target === dialog) dialog.close(); // on the backdrop
    });
}

const panel = document.querySelector("[data-intent-panel]");
const read = new Map(); // guidelines by code
let looked = "";
let timer = 0;

// Shows an intent's description and guidelines beside the card; none where there are none.
export function look(code) {
    clearTimeout(timer);
    looked = code;
    const intent = intentOf(code);
    if (!intent || !(intent.guided || intent.description)) {
        panel.hidden = true;
    } else if (read.has(code)) {
        panel.innerHTML = read.get(code);
        panel.hidden = false;
    } else {
        timer = setTimeout(async () => {
            const { status, text } = await ask(`guideline?intent=${encodeURIComponent(code)}`).catch(() => ({ status: 0 }));
            if (status !== 200) return;
            read.set(code, text);
            if (looked === code) look(code);
        }, LOOK_MS);
    }
}

// Guidelines were edited.
export function forget() {
    read.clear();
}
