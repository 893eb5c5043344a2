// Keeps the page as the server would render it now. The server says when
// something changed; the page is then fetched again, and each part of it that
// differs takes the place of the old one. Without this script the page is the
// same, as of when it was loaded.
"use strict";

const text = document.getElementById("live-text");
const ages = () => {
  for (const t of document.querySelectorAll("time.ago")) t.textContent = ago(t.dateTime);
};

function ago(iso) {
  const s = Math.max(0, Math.floor((Date.now() - new Date(iso)) / 1000));
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const now of document.querySelectorAll("[data-live]")) {
    const then = next.getElementById(now.id);
    if (!then) continue;
    for (const d of now.querySelectorAll("details[id]")) {
      const same = then.querySelector(`#${CSS.escape(d.id)}`);
      if (same) same.open = d.open;
    }
    if (then.isEqualNode(now)) continue;
    const held = now.contains(document.activeElement) ? place(now, document.activeElement) : null;
    now.replaceWith(document.adoptNode(then));
    if (held) find(then, held)?.focus({ preventScroll: true });
  }
  document.title = next.title;
  const icon = next.getElementById("icon").getAttribute("href");
  if (icon !== fleet) show(fleet = icon);
  ages();
}

// The icon shows how the fleet is, and when that is not known any more. What it
// looks like then is fetched while the server is there.
const link = document.getElementById("icon"), off = new Image();
let fleet = link.getAttribute("href");
const show = (icon) => { if (link.getAttribute("href") !== icon) link.setAttribute("href", icon); };
off.src = "/assets/icon-off.svg";

// Where the focus was: the link's target, as the elements themselves are new.
const place = (root, el) => ({ tag: el.tagName, href: el.getAttribute("href"), nth: same(root, el).indexOf(el) });
const same = (root, el) => [...root.querySelectorAll(el.tagName)].filter((e) => e.getAttribute("href") === el.getAttribute("href"));
const find = (root, at) => [...root.querySelectorAll(at.tag)].filter((e) => e.getAttribute("href") === at.href)[at.nth];

// One fetch at a time, and one more when something changed meanwhile.
let running = false, again = false;
async function changed() {
  if (running) { again = true; return; }
  running = true;
  do {
    again = false;
    try { await refresh(); } catch { /* the event stream tells when the server is gone */ }
  } while (again);
  running = false;
}

let heard = new Date(document.querySelector("#live-text time").dateTime);
const clock = (at) => at.toISOString().slice(11, 19) + " UTC";
const events = new EventSource("/events");
events.addEventListener("change", changed);
events.addEventListener("alive", () => { heard = new Date(); });
events.onopen = () => { heard = new Date(); document.body.dataset.live = "on"; text.textContent = "live"; show(fleet); };
events.onerror = () => {
  if (document.body.dataset.live !== "off") text.textContent = `stale since ${clock(heard)}`;
  document.body.dataset.live = "off";
  show("/assets/icon-off.svg");
};
setInterval(ages, 1000);
