// The grid's keyboard, selection and intent picker. htmx sends the forms and swaps the
// grid's body; what is chosen lives in the body's form: checkboxes and hidden fields.
(() => {
    "use strict";

    const grid = document.getElementById("grid");
    const notice = document.getElementById("grid-notice");
    const dialog = document.getElementById("grid-dialog");
    const keys = document.getElementById("grid-keys");
    const intents = JSON.parse(document.getElementById("grid-intents").textContent);
    const shown = new Map(intents.map((one) => [one.code, one.name || one.code]));
    const MAX_FOUND = 50;

    const form = () => document.getElementById("grid-form");
    const picker = () => document.getElementById("grid-picker");
    const items = () => [...grid.querySelectorAll(".tl-grid-item")];
    const isWhole = () => form() && "whole" in form().dataset;

    let picked = new Set(); // codes of intents
    let anchor = null; // the item that a shift-click reaches from
    let found = [];
    let active = -1;

    // --- Which questions ------------------------------------------------------------

    const isChosen = (item) => item.firstElementChild.checked;
    const count = () => items().filter(isChosen).length;

    function set(item, on) {
        item.firstElementChild.checked = on;
        item.setAttribute("aria-selected", String(on));
    }

    function toggle(item, { reach = false } = {}) {
        const all = items();
        const on = !isChosen(item);
        if (reach && anchor && all.includes(anchor)) {
            const [from, to] = [all.indexOf(anchor), all.indexOf(item)].sort((a, b) => a - b);
            for (const one of all.slice(from, to + 1)) set(one, true);
        } else {
            set(item, on);
        }
        anchor = item;
        go(item);
        paint();
    }

    function all() {
        const on = count() < items().length;
        for (const item of items()) set(item, on);
        paint();
    }

    function go(item) {
        if (!item) return;
        for (const one of items()) one.tabIndex = one === item ? 0 : -1;
        item.focus();
    }

    function columns() {
        const list = items();
        const top = list[0]?.offsetTop;
        const wrapped = list.findIndex((item) => item.offsetTop !== top);
        return wrapped < 0 ? list.length : wrapped;
    }

    function move(key, reach) {
        const list = items();
        if (!list.length) return;
        const now = list.indexOf(document.activeElement);
        const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[key];
        const next = now < 0 ? 0 : now + step;
        if (next < 0 || next >= list.length) return;
        if (reach && now >= 0) {
            set(list[now], true);
            const [from, to] = [now, next].sort((a, b) => a - b);
            for (const one of list.slice(from, to + 1)) set(one, true);
            anchor = list[next];
            paint();
        }
        go(list[next]);
    }

    // --- Which intent ---------------------------------------------------------------

    function pick(code) {
        const isMulti = "multi" in picker().dataset;
        if (!picked.delete(code)) {
            if (!isMulti) picked.clear();
            picked.add(code);
        }
        closeList();
        paint();
    }

    function rank(intent, words) {
        const code = intent.code.toLowerCase();
        const name = intent.name.toLowerCase();
        const rest = `${code} ${name} ${intent.description.toLowerCase()} ${intent.pinyin || ""}`;
        if (!words.every((word) => rest.includes(word))) return null;
        const first = words[0];
        if (code === first || name === first) return 0;
        if (code.startsWith(first) || name.startsWith(first)) return 1;
        if (code.includes(first) || name.includes(first)) return 2;
        return 3;
    }

    function look() {
        const words = picker().value.toLowerCase().normalize("NFKC").split(/\s+/).filter(Boolean);
        found = intents
            .map((intent) => [words.length ? rank(intent, words) : 0, intent])
            .filter(([place]) => place !== null)
            .sort(([a], [b]) => a - b)
            .slice(0, MAX_FOUND)
            .map(([, intent]) => intent);
        active = words.length && found.length ? 0 : -1;
        paintList();
    }

    function paintList() {
        const list = document.getElementById("grid-found");
        list.hidden = false;
        picker().setAttribute("aria-expanded", "true");
        list.replaceChildren(...found.map((intent, place) => {
            const item = document.createElement("li");
            item.id = `grid-found-${place}`;
            item.role = "option";
            item.dataset.code = intent.code;
            item.setAttribute("aria-selected", String(place === active));
            const name = document.createElement("span");
            name.className = "tl-grid-found-name";
            name.textContent = intent.name || intent.code;
            const code = document.createElement("span");
            code.className = "tl-grid-found-code";
            code.textContent = intent.code;
            item.append(name, code);
            return item;
        }));
        if (!found.length) {
            const nothing = document.createElement("li");
            nothing.className = "tl-quiet";
            nothing.textContent = list.dataset.nothing;
            list.append(nothing);
        }
        picker().setAttribute("aria-activedescendant", active < 0 ? "" : `grid-found-${active}`);
        list.children[active]?.scrollIntoView({ block: "nearest" });
    }

    function closeList() {
        if (!picker()) return;
        picker().value = "";
        picker().setAttribute("aria-expanded", "false");
        document.getElementById("grid-found").hidden = true;
        found = [];
        active = -1;
    }

    function pickerKey(event) {
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            event.preventDefault();
            if (!found.length) return look();
            const step = event.key === "ArrowDown" ? 1 : -1;
            active = (active + step + found.length + (active < 0 && step < 0 ? 1 : 0)) % found.length;
            paintList();
        } else if (event.key === "Enter") {
            event.preventDefault();
            if (found[active]) {
                const isMulti = "multi" in picker().dataset;
                pick(found[active].code);
                if (!isMulti) leavePicker();
            } else if (!picker().value) {
                leavePicker();
                send();
            }
        } else if (event.key === "Backspace" && !picker().value && picked.size) {
            picked.delete([...picked].at(-1));
            paint();
        } else if (event.key === "Escape") {
            leavePicker();
        }
    }

    function leavePicker() {
        closeList();
        picker().blur();
        go(items().find((item) => item.tabIndex === 0));
    }

    // --- What is chosen, on the page --------------------------------------------------

    function paint() {
        if (!form()) return;
        const chosen = form().querySelector("[data-chosen]");
        chosen.replaceChildren(...[...picked].flatMap((code) => {
            const field = document.createElement("input");
            field.type = "hidden";
            field.name = "intent";
            field.value = code;
            const chip = document.createElement("button");
            chip.type = "button";
            chip.className = "tl-queue-chip";
            chip.dataset.drop = code;
            chip.title = chosen.dataset.drop;
            chip.textContent = shown.get(code) || code;
            return [field, chip];
        }));
        for (const offer of form().querySelectorAll(".tl-grid-offer")) {
            offer.setAttribute("aria-pressed", String(picked.has(offer.dataset.code)));
        }
        const main = form().querySelector("[data-main]");
        if (isWhole()) {
            main.disabled = !picked.size;
            return;
        }
        const n = count();
        const { none, one, many } = main.dataset;
        main.textContent = n === 0 ? none : n === 1 ? one : many.replace("{n}", n);
        main.disabled = !n;
        const word = form().querySelector("[data-all]");
        word.textContent = n < items().length ? word.dataset.allWord : word.dataset.noneWord;
    }

    function send() {
        if (!form()) return;
        if (!isWhole() && !count()) return;
        if (!picked.size) return picker().focus();
        htmx.trigger(form(), "submit");
    }

    // --- Keys and clicks --------------------------------------------------------------

    const ACTIONS = { all, keys: () => keys.showModal(), close: () => dialog.close() };

    function pageKey(event) {
        const key = event.key.toLowerCase();
        const item = event.target.closest?.(".tl-grid-item");
        if (event.key.startsWith("Arrow")) {
            if (!items().length) return;
            move(event.key, event.shiftKey);
        } else if (key === " " && item) toggle(item, { reach: event.shiftKey });
        else if (key === "enter") {
            if (event.target.closest?.("button, a, summary")) return; // it has its own
            send();
        } else if (key === "a" && items().length) all();
        else if (key === "l" && picker()) picker().focus();
        else if (key === "u") grid.querySelector("[data-undo]")?.click();
        else if (key === "/") document.getElementById("grid-text")?.focus();
        else if (key === "?") keys.showModal();
        else if (/^[1-9]$/.test(key)) {
            const offer = grid.querySelectorAll(".tl-grid-offer")[Number(key) - 1];
            if (!offer) return;
            pick(offer.dataset.code);
        } else return;
        event.preventDefault();
    }

    document.addEventListener("keydown", (event) => {
        // An input method's own keys: Enter there picks a word.
        if (event.isComposing || event.keyCode === 229) return;
        if (event.ctrlKey || event.metaKey || event.altKey || keys.open || dialog.open) return;
        const field = event.target.closest?.("input, textarea, select, [contenteditable]");
        if (!field) return pageKey(event);
        if (field === picker()) return pickerKey(event);
        if (field.id === "grid-text" && event.key === "Escape") field.blur();
    });

    grid.addEventListener("click", (event) => {
        const action = event.target.closest("[data-action]");
        if (action) return ACTIONS[action.dataset.action]?.();
        const drop = event.target.closest("[data-drop].tl-queue-chip");
        if (drop) {
            picked.delete(drop.dataset.drop);
            return paint();
        }
        const code = event.target.closest("[data-code]");
        if (code) return pick(code.dataset.code);
        const item = event.target.closest(".tl-grid-item");
        if (item && !event.target.closest("a")) {
            event.preventDefault(); // the checkbox follows `toggle` alone
            toggle(item, { reach: event.shiftKey });
        }
    });
    grid.addEventListener("mousedown", (event) => {
        if (event.shiftKey && event.target.closest(".tl-grid-item")) event.preventDefault(); // selects no text
    });
    dialog.addEventListener("click", (event) => {
        if (event.target === dialog || event.target.closest("[data-action=close]")) dialog.close();
    });
    document.addEventListener("click", (event) => {
        if (!event.target.closest(".tl-grid-picker")) closeList();
    });
    grid.addEventListener("input", (event) => {
        if (event.target === picker()) look();
    });
    grid.addEventListener("focusin", (event) => {
        if (event.target === picker()) look();
    });
    // Filters apply at once; text waits for Enter.
    document.getElementById("grid-search")?.addEventListener("change", (event) => {
        if (event.target.id === "grid-text") return;
        const text = document.getElementById("grid-text");
        if (event.target.name === "by" && !text.value.trim()) return;
        htmx.trigger(event.currentTarget, "submit");
    });

    // --- Requests ---------------------------------------------------------------------

    const cookie = (name) => document.cookie.match(`(?:^|; )${name}=([^;]*)`)?.[1];

    document.body.addEventListener("htmx:configRequest", (event) => {
        event.detail.headers["X-CSRFToken"] = cookie("csrftoken");
        event.detail.headers["X-Tuneloop"] = "1";
        // Empty filters would only make the address long.
        if (event.detail.verb === "get") {
            const given = event.detail.formData;
            for (const [name, value] of [...given.entries()]) {
                if (!value || (name === "state" && value === "open")) given.delete(name);
            }
            if (!given.get("q")) given.delete("by");
        }
    });
    document.body.addEventListener("htmx:beforeSwap", (event) => {
        const { xhr } = event.detail;
        if (xhr.status < 400) return;
        event.detail.shouldSwap = xhr.status < 500;
        event.detail.isError = xhr.status >= 500;
        event.detail.target = notice;
        event.detail.swapOverride = "innerHTML";
    });
    document.body.addEventListener("htmx:afterSwap", (event) => {
        const { target } = event.detail;
        if (target === notice) {
            dialog.close();
            notice.scrollIntoView({ block: "nearest" });
        } else if (target.id === "grid-dialog-content") {
            notice.replaceChildren();
            if (!dialog.open) dialog.showModal();
            (document.getElementById("grid-confirm") || dialog.querySelector("[data-action=close]")).focus();
        } else if (target.id === "grid-body") {
            dialog.close();
            fresh();
        }
    });
    for (const failure of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
        document.body.addEventListener(failure, () => {
            dialog.close();
            notice.textContent = notice.dataset.offline;
        });
    }

    function fresh() {
        notice.replaceChildren();
        picked = new Set();
        anchor = null;
        paint();
        if (document.activeElement === document.body) go(items()[0]);
    }

    fresh();
})();
