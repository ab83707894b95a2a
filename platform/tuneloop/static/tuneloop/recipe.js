/* The recipe's form: marks what differs from the preset, and takes it back.
   Without it the form works: the server compares the values anyway. */
(() => {
    "use strict";

    const valueOf = (knob) => {
        const inputs = [...knob.querySelectorAll("input, select")];
        if (knob.dataset.kind === "several")
            return inputs.filter((one) => one.checked).map((one) => one.value).join(",");
        if (knob.dataset.kind === "switch") return inputs[0].checked ? "true" : "";
        return inputs[0].value.trim();
    };

    const isChanged = (knob) => {
        const now = valueOf(knob), preset = knob.dataset.preset;
        if (now === preset) return false;
        const areNumbers = ["whole", "number"].includes(knob.dataset.kind) && now !== "";
        return !areNumbers || Number(now) !== Number(preset);
    };

    const mark = () => {
        const knobs = [...document.querySelectorAll("#recipe .tl-knob")];
        knobs.forEach((knob) => knob.classList.toggle("tl-knob-changed", isChanged(knob)));
        const count = knobs.filter(isChanged).length;
        document.querySelectorAll("[data-changed-count]").forEach((badge) => {
            badge.hidden = !count;
            badge.textContent = count;
        });
    };

    const restore = (knob) => {
        const preset = knob.dataset.preset;
        knob.querySelectorAll("input, select").forEach((one) => {
            if (knob.dataset.kind === "several") one.checked = preset.split(",").includes(one.value);
            else if (knob.dataset.kind === "switch") one.checked = preset === "true";
            else one.value = preset;
        });
    };

    document.addEventListener("click", (event) => {
        if (!event.target.closest("[data-restores-all]")) return;
        event.preventDefault();
        const knobs = document.querySelectorAll("#recipe .tl-knob");
        knobs.forEach(restore);
        mark();
        if (knobs.length) knobs[0].dispatchEvent(new Event("change", { bubbles: true }));
    });
    document.addEventListener("input", (event) => {
        if (event.target.closest("#recipe")) mark();
    });
    document.addEventListener("htmx:afterSwap", mark);
    mark();
})();
