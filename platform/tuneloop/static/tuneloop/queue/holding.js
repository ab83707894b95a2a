// Keeps what the page holds, and gives it back when the page is left.

import { ask, queue, tell } from "./server.js";

const BEAT_MS = Number(queue.dataset.heartbeatS) * 1000;
const IDLE_MS = 10 * 60 * 1000; // a forgotten tab must not hold its questions
const FIRST_BEAT_MS = 3000; // after a reload: the page before gave them back

export function hold(deck, outbox, onProgress) {
    let lastSeen = Date.now();
    let nextBeat = Date.now() + Math.min(FIRST_BEAT_MS, BEAT_MS);

    function held(cards) {
        const form = new FormData();
        for (const card of cards) form.append("held", `${card.id}:${card.token}`);
        return form;
    }

    async function beat() {
        const cards = deck.cards.filter((card) => !card.isLost);
        const sent = outbox.items.map((item) => item.card);
        if (!cards.length && !sent.length) return;
        if (Date.now() - lastSeen > IDLE_MS || Date.now() < nextBeat) return;
        nextBeat = Date.now() + BEAT_MS;
        const { status, text } = await ask("renew", held([...cards, ...sent])).catch(() => ({ status: 0 }));
        if (status !== 200) return; // the next beat tries again
        const answer = JSON.parse(text);
        const still = new Set(answer.held.map(String));
        const lost = cards.filter((card) => !still.has(card.id));
        if (lost.length) deck.lose(new Set(lost.map((card) => card.id)));
        onProgress(answer);
    }

    for (const sign of ["keydown", "pointerdown", "pointermove", "scroll"]) {
        document.addEventListener(sign, () => {
            const wasAway = Date.now() - lastSeen > IDLE_MS;
            lastSeen = Date.now();
            if (wasAway) {
                nextBeat = 0;
                beat(); // tells at once what is still ours
            }
        }, { passive: true });
    }
    setInterval(beat, 1000);

    window.addEventListener("beforeunload", (event) => {
        if (outbox.size) event.preventDefault();
    });
    window.addEventListener("pagehide", () => {
        const cards = deck.cards.filter((card) => !card.isLost);
        if (cards.length) tell("leave", held(cards));
    });
    window.addEventListener("pageshow", (event) => {
        if (event.persisted) location.reload(); // its questions were given back
    });
}
