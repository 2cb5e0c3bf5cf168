// The page of the stand-in Slack: messages, the parts of the page, and talking to the stand-in.

const $ = (id) => document.getElementById(id);
let state = null;
let me = sessionStorage.getItem("me") || "alice";
let here = sessionStorage.getItem("here") || "";
let thread = null;
let generation = 0;
const read = {};
const drawn = { modal: "", side: "" };

// Messages.

const initials = (name) => name.split(/\s+/).map((word) => [...word][0] || "").join("").slice(0, 2).toUpperCase();
function face(one) {
  if (!one) return el("div", { class: "face fbot", "aria-hidden": "true" }, "S");
  if (one.is_app) return el("div", { class: "face fapp", "aria-hidden": "true" }, "⚓");
  let sum = 0;
  for (const symbol of one.id) sum = (sum * 31 + symbol.codePointAt(0)) % 9973;
  return el("div", { class: `face f${sum % 6}`, "aria-hidden": "true" }, initials(one.real_name));
}

const clock = (ts) => new Date(Number(ts) * 1000).toLocaleTimeString("en", { hour: "numeric", minute: "2-digit" });

function renderMessage(place, message, inThread) {
  const author = person(message.user);
  const name = author ? author.real_name : "Slackbot";
  const where = {
    name: { channel: place.id, ts: message.ts, ephemeral: message.ephemeral }, entered: message.entered,
  };
  const replies = place.messages.filter((one) => one.is_reply && !one.ephemeral && one.thread_ts === message.ts);
  const tools = [];
  if (!inThread && !message.ephemeral) tools.push(el("button", { onclick: () => openThread(message.thread_ts || message.ts) }, "Reply in thread"));
  const mine = message.user === state.me || (person(state.me) || {}).admin;
  if (!message.ephemeral && mine) tools.push(el("button", { onclick: () => act({ kind: "delete", channel: place.id, ts: message.ts }) }, "Delete"));
  if (message.ephemeral) tools.push(el("button", { onclick: () => act({ kind: "dismiss", ts: message.ts }) }, "Dismiss"));
  const content = message.blocks.length ? message.blocks.map((block) => renderBlock(where, block)) : el("div", { class: "text" }, mrkdwn(message.text));
  return el("article", { class: message.ephemeral ? "message only" : "message", "aria-label": `${name}, ${clock(message.ts)}` },
    message.ephemeral ? el("div", { class: "about" }, "Only visible to you") : null,
    message.broadcast && !inThread ? el("div", { class: "about" }, "↳ replied to a thread") : null,
    face(author),
    el("div", { class: "body" },
      el("div", {}, el("span", { class: "by" }, name), author && author.bot || !author ? el("span", { class: "tag" }, "APP") : null, el("time", {}, clock(message.ts)), message.edited ? el("span", { class: "edited" }, " (edited)") : null),
      content,
      message.reactions.length ? el("div", { class: "reactions" }, message.reactions.map((one) => el("span", { title: one.name }, sign(one.name), ` ${one.users.length}`))) : null,
      !inThread && replies.length ? el("button", { class: "replies", onclick: () => openThread(message.ts) }, `${replies.length} ${replies.length === 1 ? "reply" : "replies"}`, el("span", {}, `Last at ${clock(replies[replies.length - 1].ts)}`)) : null),
    tools.length ? el("div", { class: "tools" }, tools) : null);
}

/** Draws a list anew only where something differs, so that what is typed or open elsewhere stays. */
function drawFeed(feed, place, messages, inThread, intro) {
  const atEnd = feed.scrollHeight - feed.scrollTop - feed.clientHeight < 60;
  const old = new Map([...feed.children].map((node) => [node.dataset.key, node]));
  const wanted = messages.map((message) => {
    const replies = inThread ? 0 : place.messages.filter((one) => one.is_reply && one.thread_ts === message.ts).map((one) => one.ts);
    const bare = { ...message, entered: null };
    const print = JSON.stringify([bare, replies, state.me, inThread]);
    const key = `${place.id}/${message.ts}`;
    const known = old.get(key);
    if (known && known.print === print) return known;
    const node = renderMessage(place, message, inThread);
    node.dataset.key = key;
    node.print = print;
    return node;
  });
  if (intro) { intro.dataset.key = "intro"; const known = old.get("intro"); wanted.unshift(known && known.textContent === intro.textContent ? known : intro); }
  wanted.forEach((node, index) => { if (feed.children[index] !== node) feed.insertBefore(node, feed.children[index] || null); });
  while (feed.children.length > wanted.length) feed.lastChild.remove();
  if (atEnd || feed.place !== place.id) feed.scrollTop = feed.scrollHeight;
  feed.place = place.id;
}

// The parts of the page.

function titleOf(place) {
  return place.kind === "direct" ? "Foredeck" : place.name;
}

function goTo(id) {
  here = id; thread = null;
  sessionStorage.setItem("here", id);
  $("feed").replaceChildren();
  if (id === "home") act({ kind: "open_home" });
  draw();
  const field = $("composer").querySelector("textarea");
  if (field && id !== "home") field.focus();
}

function unread(place) {
  const last = place.messages.filter((one) => one.user !== state.me).pop();
  return Boolean(last) && (read[`${state.me}/${place.id}`] || "") < last.ts;
}

function drawSide() {
  $("team").textContent = state.team;
  document.title = state.team;
  const entry = (id, mark, text, news) => el("button", { "aria-current": here === id ? "page" : null, class: news ? "unread" : "", onclick: () => goTo(id) },
    el("span", { class: "sign", "aria-hidden": "true" }, mark), text, news ? el("span", { class: "count", "aria-label": "new" }, "•") : null);
  const direct = state.channels.find((one) => one.kind === "direct");
  const parts = [
    el("h2", {}, "Channels"),
    state.channels.filter((one) => one.kind !== "direct").sort((a, b) => a.name.localeCompare(b.name))
      .map((one) => entry(one.id, one.kind === "private" ? "🔒" : "#", one.name, unread(one))),
    el("h2", {}, "Apps"),
    direct ? entry(direct.id, "⚓", "Foredeck", unread(direct))
      : el("button", { onclick: async () => { const answer = await act({ kind: "open_direct" }); if (answer) { await refresh(); goTo(answer.channel); } } }, el("span", { class: "sign", "aria-hidden": "true" }, "⚓"), "Foredeck"),
    state.home_enabled ? entry("home", "⌂", "Foredeck: Home", false) : null,
  ];
  const nav = document.querySelector("#side nav");
  const fresh = el("nav", {}, parts);
  if (fresh.innerHTML !== drawn.side) {
    drawn.side = fresh.innerHTML;
    const focused = [...nav.querySelectorAll("button")].indexOf(document.activeElement);
    nav.replaceChildren(...fresh.childNodes);
    if (focused >= 0 && nav.querySelectorAll("button")[focused]) nav.querySelectorAll("button")[focused].focus();
  }
  const select = $("me");
  const people = state.people.filter((one) => !one.bot && one.active);
  const names = people.map((one) => one.id).join();
  if (select.dataset.names !== names) {
    select.dataset.names = names;
    select.replaceChildren(...people.map((one) => el("option", { value: one.id }, one.real_name)));
  }
  select.value = state.me;
  document.querySelector("#who .face").replaceWith(face(person(state.me)));
}

function composer(box, key, label, inThread) {
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const says = el("div", { class: "says", role: "status" });
  const field = el("textarea", { id: inThread ? "say-thread" : "say", rows: 1, "aria-label": label, placeholder: label });
  const send = el("button", { class: "send", type: "submit", disabled: true }, "Send");
  const hint = () => {
    const text = field.value;
    const command = state.commands.find((one) => text.startsWith(one));
    says.classList.remove("bad");
    says.textContent = text.startsWith("/") ? (command ? `${command} goes to Foredeck; others see nothing of it unless it says so` : "") : /(^|\s)@foredeck\b/.test(text) ? "Foredeck will be told" : "";
    send.disabled = !text.trim();
    field.style.height = "auto"; field.style.height = `${field.scrollHeight}px`;
  };
  field.addEventListener("input", hint);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  const form = el("form", { onsubmit: async (event) => {
    event.preventDefault();
    const text = field.value;
    if (!text.trim()) return;
    field.value = ""; hint();
    const answer = await act({ kind: "send", channel: here, thread_ts: inThread ? thread : null, text }, (problem) => {
      field.value = text; hint(); says.textContent = problem; says.classList.add("bad");
    });
    if (answer) field.focus();
  } }, field, send);
  box.replaceChildren(form, says);
}

function openThread(ts) {
  thread = ts;
  $("replies").replaceChildren();
  draw();
  const field = $("thread-composer").querySelector("textarea");
  if (field) field.focus();
}

function drawHome() {
  $("place").textContent = "Foredeck"; $("about").textContent = "Home";
  $("composer").replaceChildren(); $("composer").dataset.key = "";
  const view = state.home;
  const print = JSON.stringify(["home", view && view.hash, view && view.id, state.me]);
  const feed = $("feed");
  if (feed.children.length === 1 && feed.firstChild.print === print) return;
  const where = view ? { name: { view: view.id }, entered: view.entered } : null;
  const node = el("div", { class: "home" }, view ? (view.content.blocks || []).map((block) => renderBlock(where, block)) : el("p", { class: "start" }, "Foredeck has nothing here yet."));
  node.print = print;
  feed.replaceChildren(node);
  feed.place = "home";
}

function drawModal() {
  const dialog = $("modal");
  const view = state.modals[state.modals.length - 1];
  const print = view ? JSON.stringify([view.id, view.hash, view.errors, view.notice, state.me]) : "";
  if (print === drawn.modal) return;
  drawn.modal = print;
  if (!view) { if (dialog.open) dialog.close(); dialog.replaceChildren(); return; }
  const content = view.content;
  const where = { name: { view: view.id }, entered: view.entered, errors: view.errors };
  const below = state.modals.length > 1;
  const flush = async () => { for (const field of dialog.querySelectorAll(".typed")) await field.flush(); };
  const submit = el("button", { class: "button primary", type: "submit" }, textObject(content.submit));
  const form = el("form", { novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    submit.disabled = true;
    await flush();
    await act({ kind: "submit", view: view.id });
    submit.disabled = false;
  } },
  el("header", {}, el("h2", { id: "modal-title" }, textObject(content.title)), el("button", { class: "cross", type: "button", "aria-label": "Close", onclick: () => act({ kind: "close_all" }) }, "×")),
  view.notice ? el("div", { class: "notice", role: "alert" }, view.notice) : null,
  el("div", { class: "inside" }, (content.blocks || []).map((block) => renderBlock(where, block))),
  el("footer", {},
    el("button", { class: "button", type: "button", onclick: () => act({ kind: "close", view: view.id }) }, content.close ? textObject(content.close) : below ? "Back" : "Close"),
    content.submit ? submit : null));
  const half = new Map([...dialog.querySelectorAll(".typed")].filter((one) => one.dirty()).map((one) => [one.dataset.key, one.value]));
  const focused = dialog.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  dialog.replaceChildren(form);
  for (const field of dialog.querySelectorAll(".typed")) if (half.has(field.dataset.key)) field.value = half.get(field.dataset.key);
  dialog.oncancel = (event) => { event.preventDefault(); act({ kind: "close", view: view.id }); };
  if (!dialog.open) dialog.showModal();
  const controls = (within) => dialog.querySelector(["input", "select", "textarea"].map((name) => `${within} ${name}`).join());
  const first = controls(".field.bad") || [...dialog.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused) || controls(".field");
  if (first) first.focus();
}

function draw() {
  if (!state) return;
  const known = here === "home" || channel(here);
  if (!known) here = (state.channels.find((one) => one.name === "deploys") || state.channels[0] || {}).id || "home";
  const place = channel(here);
  if (place && place.messages.length && document.visibilityState === "visible") read[`${state.me}/${place.id}`] = place.messages[place.messages.length - 1].ts;
  drawSide();
  drawModal();
  $("thread").hidden = !(place && thread);
  if (!place) { drawHome(); return; }
  const title = titleOf(place);
  $("place").textContent = place.kind === "direct" ? title : `# ${title}`;
  $("about").textContent = [place.kind === "direct" ? "App" : `${place.members} members`, place.archived ? "archived" : "", place.shared ? "shared with another organisation" : ""].filter(Boolean).join(" · ");
  const top = place.messages.filter((one) => !one.is_reply || one.broadcast);
  const intro = el("div", { class: "start" }, el("strong", {}, place.kind === "direct" ? title : `# ${title}`), place.kind === "direct" ? "Write to Foredeck here. Only you two see it." : `This is the start of #${title}. Type /deploy to ask for a deployment.`);
  if (place.archived) { $("composer").dataset.key = ""; $("composer").replaceChildren(el("div", { class: "says" }, "This channel is archived.")); }
  else composer($("composer"), `${state.me}/${place.id}`, place.kind === "direct" ? "Message Foredeck" : `Message #${title}, or /deploy …`, false);
  // After the message field, whose height decides where the end is.
  drawFeed($("feed"), place, top, false, intro);
  if (thread) {
    $("thread-place").textContent = place.kind === "direct" ? title : `# ${title}`;
    composer($("thread-composer"), `${state.me}/${place.id}/${thread}`, "Reply", true);
    drawFeed($("replies"), place, place.messages.filter((one) => one.ts === thread || (one.is_reply && one.thread_ts === thread)), true, null);
  }
}

// Talking to the stand-in.

let toasting = 0;
function toast(text) {
  $("toast").textContent = text; $("toast").hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

/** Does something; answers null when it failed, after saying why. */
async function act(action, complain = toast) {
  try {
    const response = await fetch("/page/act", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ user: state ? state.me : me, ...action }) });
    const answer = await response.json();
    if (response.ok) return answer;
    complain(answer.error || "That did not work.");
  } catch { complain("The workspace cannot be reached."); }
  return null;
}

async function look(seen) {
  const query = new URLSearchParams({ user: me });
  if (seen !== null) query.set("seen", seen);
  const response = await fetch(`/page/state?${query}`);
  if (response.status === 404) { me = "alice"; throw new Error("no such person"); }
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

async function refresh() { state = await look(null); draw(); }

async function follow(number) {
  let seen = null;
  while (number === generation) {
    try {
      const news = await look(seen);
      if (number !== generation) return;
      state = news; seen = news.count;
      draw();
    } catch {
      seen = null;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

$("me").addEventListener("change", (event) => {
  me = event.target.value; sessionStorage.setItem("me", me);
  thread = null; drawn.modal = ""; $("feed").replaceChildren(); $("replies").replaceChildren(); $("composer").dataset.key = "";
  generation += 1; follow(generation);
});
$("thread-close").addEventListener("click", () => { thread = null; draw(); });
document.addEventListener("visibilitychange", draw);
follow(generation);
