// The queue page's keyboard, search and heartbeat. htmx sends and swaps the cards;
// what was chosen or typed lives in the card's form until the server has it. Cards are
// swapped with settle:0ms: htmx wires a card up when it settles, and a key must not fall
// into the moment before.
(() => {
    "use strict";

    const queue = document.getElementById("queue");
    const notice = document.getElementById("queue-notice");
    const keys = document.getElementById("queue-keys");
    const intents = JSON.parse(document.getElementById("queue-intents").textContent);
    const shown = new Map(intents.map((one) => [one.code, one.name || one.code]));
    const MAX_FOUND = 50;
    const IDLE_MS = 10 * 60 * 1000; // a forgotten tab must not hold its question

    const $ = (selector) => queue.querySelector(selector);
    const card = () => document.getElementById("queue-card");
    const form = () => document.getElementById("queue-form");
    const isMulti = () => "multi" in card().dataset;
    const isBusy = () => card().classList.contains("htmx-request");

    let chosen = new Set();
    let shownAt = performance.now();
    let isLost = false;
    let kept = null; // what was on a card whose lease was lost
    let found = [];
    let active = -1;

    // --- Choosing ---------------------------------------------------------------

    function paint() {
        for (const pick of queue.querySelectorAll("[data-code]")) {
            pick.setAttribute("aria-pressed", String(chosen.has(pick.dataset.code)));
        }
        const fields = $("[data-chosen]");
        fields.replaceChildren(...[...chosen].map((code) => {
            const field = document.createElement("input");
            field.type = "hidden";
            field.name = "intent";
            field.value = code;
            return field;
        }));
        const chips = $("[data-chips]");
        chips.hidden = chosen.size === 0;
        chips.replaceChildren(...[...chosen].map((code) => {
            const chip = document.createElement("button");
            chip.type = "button";
            chip.className = "tl-queue-chip";
            chip.dataset.drop = code;
            chip.title = chips.dataset.drop;
            chip.textContent = shown.get(code) || code;
            return chip;
        }));
    }

    function choose(code) {
        if (!form() || isBusy()) return;
        if (isMulti()) {
            if (!chosen.delete(code)) chosen.add(code);
            paint();
        } else {
            chosen = new Set([code]);
            paint();
            save();
        }
    }

    function save({ none = false } = {}) {
        if (!form() || isBusy() || isLost) return;
        form().elements.time_spent_ms.value = Math.round(performance.now() - shownAt);
        if (none) {
            chosen = new Set();
            paint();
            const field = document.createElement("input");
            field.type = "hidden";
            field.name = "none";
            field.value = "1";
            $("[data-chosen]").append(field);
        }
        htmx.trigger(form(), "submit");
    }

    function none() {
        if (!form()) return;
        if (isMulti()) save({ none: true });
        else if (card().dataset.fallback) choose(card().dataset.fallback);
    }

    function askReason() {
        if (!form() || isBusy()) return;
        const reason = $(".tl-queue-reason");
        if (reason.hidden) {
            reason.hidden = false;
            document.getElementById("queue-reason").focus();
        } else {
            skip();
        }
    }

    function skip() {
        if (isBusy() || isLost) return;
        form().elements.time_spent_ms.value = Math.round(performance.now() - shownAt);
        htmx.trigger($("[data-action=skip]"), "skip");
    }

    function next() {
        if (isBusy()) return;
        htmx.trigger(document.getElementById("queue-next"), "next");
    }

    // --- Search -----------------------------------------------------------------

    // 0 best; null where nothing matches.
    function rank(intent, words) {
        const code = intent.code.toLowerCase();
        const name = intent.name.toLowerCase();
        const all = `${code} ${name} ${intent.description.toLowerCase()}`;
        if (!words.every((word) => all.includes(word))) return null;
        const first = words[0];
        if (code === first || name === first) return 0;
        if (code.startsWith(first) || name.startsWith(first)) return 1;
        if (code.includes(first) || name.includes(first)) return 2;
        return 3;
    }

    function search() {
        const input = document.getElementById("queue-search");
        const words = input.value.toLowerCase().normalize("NFKC").split(/\s+/).filter(Boolean);
        found = intents
            .map((intent) => [words.length ? rank(intent, words) : 0, intent])
            .filter(([place]) => place !== null)
            .sort(([a], [b]) => a - b)
            .slice(0, MAX_FOUND)
            .map(([, intent]) => intent);
        active = words.length && found.length ? 0 : -1;
        paintFound();
    }

    function paintFound() {
        const input = document.getElementById("queue-search");
        const list = document.getElementById("queue-found");
        list.hidden = false;
        input.setAttribute("aria-expanded", "true");
        list.replaceChildren(...found.map((intent, place) => {
            const item = document.createElement("li");
            item.id = `queue-found-${place}`;
            item.role = "option";
            item.dataset.code = intent.code;
            item.setAttribute("aria-selected", String(place === active));
            const name = document.createElement("span");
            name.className = "tl-queue-pick-name";
            name.textContent = intent.name || intent.code;
            const code = document.createElement("span");
            code.className = "tl-queue-pick-code";
            code.textContent = intent.code;
            const description = document.createElement("span");
            description.className = "tl-queue-found-description";
            description.textContent = intent.description;
            item.append(name, code, description);
            return item;
        }));
        if (!found.length) {
            const nothing = document.createElement("li");
            nothing.className = "tl-quiet";
            nothing.textContent = list.dataset.nothing;
            list.append(nothing);
        }
        input.setAttribute("aria-activedescendant", active < 0 ? "" : `queue-found-${active}`);
        list.children[active]?.scrollIntoView({ block: "nearest" });
    }

    function closeSearch({ clear = true } = {}) {
        const input = document.getElementById("queue-search");
        if (!input) return;
        if (clear) {
            input.value = "";
            found = [];
            active = -1;
        }
        document.getElementById("queue-found").hidden = true;
        input.setAttribute("aria-expanded", "false");
    }

    function searchKey(event) {
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            event.preventDefault();
            if (!found.length) return;
            const step = event.key === "ArrowDown" ? 1 : -1;
            active = (active + step + found.length + (active < 0 && step < 0 ? 1 : 0)) % found.length;
            paintFound();
        } else if (event.key === "Enter") {
            event.preventDefault();
            const intent = found[active];
            if (intent) {
                closeSearch();
                choose(intent.code);
                if (!isMulti()) event.target.blur();
            } else if (!event.target.value && chosen.size) {
                save();
            }
        }
    }

    // --- Keys and clicks ----------------------------------------------------------

    const ACTIONS = {
        keys: () => keys.showModal(),
        save: () => save(),
        none,
        skip: askReason,
        next,
    };

    function pageKey(event) {
        const key = event.key.toLowerCase();
        if (/^[1-9]$/.test(key)) {
            const pick = $(`[data-key="${key}"]`);
            if (pick) choose(pick.dataset.code);
        } else if (key === "0") none();
        else if (key === "enter") {
            if (event.target.closest("button, a, summary")) return; // it has its own
            if (isMulti() || chosen.size) save();
        } else if (key === "/") document.getElementById("queue-search")?.focus();
        else if (key === "c") document.getElementById("queue-comment")?.focus();
        else if (key === "s") askReason();
        else if (key === "u") $("[data-action=undo]")?.click();
        else if (key === "n" && isLost) next();
        else if (key === "?") keys.showModal();
        else return;
        event.preventDefault();
    }

    document.addEventListener("keydown", (event) => {
        // An input method's own keys: Enter there picks a word.
        if (event.isComposing || event.keyCode === 229) return;
        if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
        const field = event.target.closest?.("input, textarea, select, [contenteditable]");
        if (!field) return pageKey(event);
        if (!queue.contains(field)) return;
        if (event.key === "Escape") {
            if (field.id === "queue-search") closeSearch();
            if (field.id === "queue-reason") $(".tl-queue-reason").hidden = true;
            field.blur();
        } else if (field.id === "queue-search") searchKey(event);
        else if (field.id === "queue-reason" && event.key === "Enter") {
            event.preventDefault();
            skip();
        } else if (field.id === "queue-comment" && event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            field.blur(); // back to the keys 1 to 9
        }
    });

    document.addEventListener("click", (event) => {
        const action = event.target.closest("[data-action]");
        if (action && ACTIONS[action.dataset.action]) ACTIONS[action.dataset.action]();
        const chip = event.target.closest(".tl-queue-chip");
        if (chip) {
            chosen.delete(chip.dataset.drop);
            paint();
        }
        const pick = event.target.closest("#queue [data-code]");
        if (pick) {
            closeSearch();
            choose(pick.dataset.code);
        }
        if (!event.target.closest(".tl-queue-search")) closeSearch({ clear: false });
    });
    queue.addEventListener("input", (event) => {
        if (event.target.id === "queue-search") search();
    });
    queue.addEventListener("focusin", (event) => {
        if (event.target.id === "queue-search") search();
    });

    // --- Requests -----------------------------------------------------------------

    const cookie = (name) => document.cookie.match(`(?:^|; )${name}=([^;]*)`)?.[1];

    document.body.addEventListener("htmx:configRequest", (event) => {
        // From the cookie each time: signing in again in another tab changes it.
        event.detail.headers["X-CSRFToken"] = cookie("csrftoken");
    });

    document.body.addEventListener("htmx:beforeSwap", (event) => {
        const { xhr, elt } = event.detail;
        if (xhr.status < 400) return;
        // A heartbeat that comes back after its card was answered says nothing new.
        event.detail.shouldSwap = elt.isConnected && xhr.status < 500 && Boolean(xhr.getResponseHeader("HX-Retarget"));
        event.detail.isError = !event.detail.shouldSwap;
    });

    document.body.addEventListener("htmx:afterSwap", (event) => {
        if (event.detail.target === notice) {
            isLost = Boolean(notice.querySelector("[data-kind=lost]"));
            card().classList.toggle("tl-queue-lost", isLost);
            if (isLost && form()) {
                const { question, comment } = form().elements;
                kept = { question: question.value, comment: comment.value, chosen };
            }
        } else if (event.detail.target.id === "queue-card") {
            fresh();
        }
    });

    function fresh() {
        notice.replaceChildren();
        isLost = false;
        chosen = new Set();
        shownAt = performance.now();
        if (!form()) return;
        if (kept && kept.question === form().elements.question.value) {
            chosen = kept.chosen;
            form().elements.comment.value = kept.comment;
            if (chosen.size) say("queue-again");
        }
        kept = null;
        paint();
        document.getElementById("queue-text").focus({ preventScroll: true });
    }

    function say(id) {
        notice.replaceChildren(document.getElementById(id).content.cloneNode(true));
    }

    for (const failure of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
        document.body.addEventListener(failure, (event) => {
            // Heartbeats and the empty page's look-outs just try again.
            if (event.detail.elt.closest("#queue-form")) say("queue-offline");
        });
    }

    // --- Heartbeat ------------------------------------------------------------------

    let lastSeen = Date.now();
    let lastBeat = Date.now();

    function beat() {
        const element = document.getElementById("queue-heartbeat");
        if (!element || isLost) return;
        if (Date.now() - lastSeen > IDLE_MS) return;
        if (Date.now() - lastBeat < Number(card().dataset.heartbeatS) * 1000) return;
        lastBeat = Date.now();
        htmx.trigger(element, "heartbeat");
    }

    for (const sign of ["keydown", "pointerdown", "pointermove", "scroll"]) {
        document.addEventListener(sign, () => {
            const wasAway = Date.now() - lastSeen > IDLE_MS;
            lastSeen = Date.now();
            if (wasAway) beat(); // tells at once whether the question is still ours
        }, { passive: true });
    }
    setInterval(beat, 1000);

    fresh();
})();
