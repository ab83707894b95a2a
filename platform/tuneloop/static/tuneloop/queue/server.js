// What the queue page asks the server, and how it finds its own parts.

export const queue = document.getElementById("queue");
const TIMEOUT_MS = 20_000;

export const address = (step) => queue.dataset.base + step;

const cookie = (name) => document.cookie.match(`(?:^|; )${name}=([^;]*)`)?.[1] ?? "";

// A template of the page as HTML.
export const told = (name) => document.getElementById(`queue-${name}`).innerHTML;

// Answers {status, text}; throws where no answer comes.
export async function ask(step, form = null) {
    const response = await fetch(address(step), {
        method: form ? "POST" : "GET",
        body: form,
        headers: {
            "X-Tuneloop": "queue",
            // From the cookie each time: signing in again in another tab changes it.
            ...(form ? { "X-CSRFToken": cookie("csrftoken") } : {}),
        },
        signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { status: response.status, text: await response.text() };
}

// What is sent while the page goes away; nobody waits for an answer.
export function tell(step, form) {
    form.set("csrfmiddlewaretoken", cookie("csrftoken"));
    navigator.sendBeacon(address(step), form);
}

// The notice in an answer; one of the page's own where the answer is none of ours.
export function noticeIn(text, otherwise) {
    return text.includes('class="tl-queue-notice"') ? text : told(otherwise);
}
