// The page of the stand-in Slack. Everything people and apps wrote is put in as text nodes, never as HTML.

const $ = (id) => document.getElementById(id);
let state = null;
let me = sessionStorage.getItem("me") || "alice";
let here = sessionStorage.getItem("here") || "";
let thread = null;
let generation = 0;
const read = {};
const drawn = { modal: "", side: "" };

// Building elements.

/** An element with attributes and children; children that are text stay text. */
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else if (key === "value") node.value = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

function link(url, label) {
  let safe = null;
  try {
    const parsed = new URL(url);
    if (["http:", "https:", "mailto:"].includes(parsed.protocol)) safe = parsed.href;
  } catch { /* Not an address: shown as text. */ }
  const text = label || url.replace(/^mailto:/, "");
  if (!safe) return el("span", {}, text);
  return el("a", { href: safe, target: "_blank", rel: "noopener noreferrer", title: safe }, text);
}

const SIGNS = {
  white_check_mark: "✅", heavy_check_mark: "✔️", x: "❌", warning: "⚠️", rocket: "🚀", eyes: "👀", lock: "🔒",
  unlock: "🔓", hourglass: "⌛", hourglass_flowing_sand: "⏳", stopwatch: "⏱️", no_entry: "⛔", no_entry_sign: "🚫",
  tada: "🎉", bell: "🔔", octagonal_sign: "🛑", question: "❓", information_source: "ℹ️", arrow_right: "➡️",
  arrows_counterclockwise: "🔄", rewind: "⏪", fast_forward: "⏩", large_green_circle: "🟢", large_yellow_circle: "🟡",
  large_blue_circle: "🔵", red_circle: "🔴", white_circle: "⚪", black_circle: "⚫", thumbsup: "👍", "+1": "👍",
  "-1": "👎", wave: "👋", fire: "🔥", ship: "🚢", anchor: "⚓", package: "📦", memo: "📝", mag: "🔍", link: "🔗",
  bust_in_silhouette: "👤", busts_in_silhouette: "👥", clock1: "🕐", calendar: "📅", zzz: "💤", snowflake: "❄️",
  raised_hand: "✋", double_vertical_bar: "⏸️", arrow_forward: "▶️", black_square_for_stop: "⏹️", bulb: "💡",
  heavy_minus_sign: "➖", heavy_plus_sign: "➕", small_blue_diamond: "🔹", speech_balloon: "💬", gear: "⚙️",
  wastebasket: "🗑️", leftwards_arrow_with_hook: "↩️", grey_question: "❔", checkered_flag: "🏁", hammer_and_wrench: "🛠️",
};
const sign = (name) => SIGNS[name.replace(/::skin-tone-\d/, "")] || `:${name}:`;
const withSigns = (text) => text.replace(/:([a-z0-9_+'-]+):/g, (whole, name) => SIGNS[name] || whole);
const unescape = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

const person = (id) => state.people.find((one) => one.id === id);
const group = (id) => state.groups.find((one) => one.id === id);
const channel = (id) => state.channels.find((one) => one.id === id);

function mention(id) {
  const one = person(id);
  return el("span", { class: id === state.me ? "mention me" : "mention" }, "@" + (one ? one.name : id));
}

function date(stamp, format, fallback) {
  const when = new Date(Number(stamp) * 1000);
  if (Number.isNaN(when.getTime())) return fallback || "";
  const today = new Date();
  const sameDay = (other) => when.toDateString() === other.toDateString();
  const yesterday = new Date(today.getTime() - 864e5);
  const name = when.toLocaleDateString("en", { month: "long", day: "numeric", year: "numeric" });
  const short = when.toLocaleDateString("en", { month: "short", day: "numeric", year: "numeric" });
  const pretty = (other) => (sameDay(today) ? "Today" : sameDay(yesterday) ? "Yesterday" : other);
  const time = when.toLocaleTimeString("en", { hour: "numeric", minute: "2-digit" });
  const parts = {
    date: name, date_long: name, date_short: short, date_num: when.toISOString().slice(0, 10),
    date_pretty: pretty(name), date_short_pretty: pretty(short), date_long_pretty: pretty(name), time,
    time_secs: when.toLocaleTimeString("en"), ago: pretty(short),
  };
  return format.replace(/\{(\w+)\}/g, (whole, key) => parts[key] || whole);
}

// Slack's mrkdwn.

/** What stands between < and >. */
function special(inside) {
  const bar = inside.indexOf("|");
  const [target, label] = bar < 0 ? [inside, ""] : [inside.slice(0, bar), unescape(inside.slice(bar + 1))];
  if (target.startsWith("@")) return mention(target.slice(1));
  if (target.startsWith("#")) {
    const one = channel(target.slice(1));
    return el("span", { class: "mention" }, "#" + (one ? one.name : label || target.slice(1)));
  }
  if (target.startsWith("!subteam^")) {
    const one = group(target.slice(9));
    return el("span", { class: "mention" }, one ? "@" + one.handle : label || "@group");
  }
  if (target.startsWith("!date^")) {
    const [, stamp, format] = target.split("^");
    return el("time", {}, date(stamp, format || "{date} {time}", label));
  }
  if (target.startsWith("!")) return el("span", { class: "mention" }, "@" + target.slice(1));
  return link(unescape(target), label);
}

function inline(text) {
  const out = [];
  const rule = /<([^<>\n]+)>|`([^`\n]+)`|(^|[\s(["'>])([*_~])(?=\S)([^\n]*?\S)\4(?=$|[\s).,:;!?\]"'<-])/;
  let rest = text;
  while (rest) {
    const found = rule.exec(rest);
    if (!found) break;
    const before = rest.slice(0, found.index) + (found[3] || "");
    if (before) out.push(withSigns(unescape(before)));
    if (found[1]) out.push(special(found[1]));
    else if (found[2]) out.push(el("code", {}, plainOf(found[2])));
    else out.push(el({ "*": "strong", _: "em", "~": "s" }[found[4]], {}, inline(found[5])));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest) out.push(withSigns(unescape(rest)));
  return out;
}

/** Text in code: addresses lose their brackets, nothing else is read. */
function plainOf(text) {
  return unescape(text.replace(/<([^<>|\n]+)(?:\|([^<>\n]+))?>/g, (whole, url, label) => label || url));
}

function lines(text) {
  const out = [];
  let quote = [];
  const flush = () => {
    if (quote.length) out.push(el("blockquote", {}, quote.map((line, index) => [index ? "\n" : "", inline(line)])));
    quote = [];
  };
  text.split("\n").forEach((line) => {
    const quoted = /^(?:&gt;|>) ?(.*)$/.exec(line);
    if (quoted) { quote.push(quoted[1]); return; }
    if (out.length && !quote.length) out.push("\n");
    flush();
    out.push(...inline(line));
  });
  flush();
  return out;
}

function mrkdwn(text) {
  return String(text || "").split("```").flatMap((part, index, all) => {
    if (index % 2 && index < all.length - 1) return [el("pre", {}, plainOf(part.replace(/^\n|\n$/g, "")))];
    const open = index % 2 ? "```" : "";
    const bare = index && index % 2 === 0 ? part.replace(/^\n/, "") : part;
    return lines(open + bare);
  });
}

function textObject(object) {
  if (!object) return [];
  if (object.type === "mrkdwn") return mrkdwn(object.text);
  return [object.emoji === false ? object.text : withSigns(object.text || "")];
}

// Rich text.

function richElement(part) {
  const style = part.style || {};
  let node;
  if (part.type === "text") node = part.text;
  else if (part.type === "link") node = link(part.url || "", part.text);
  else if (part.type === "user") node = mention(part.user_id);
  else if (part.type === "channel") node = special("#" + part.channel_id);
  else if (part.type === "usergroup") node = special("!subteam^" + part.usergroup_id);
  else if (part.type === "broadcast") node = special("!" + part.range);
  else if (part.type === "emoji") node = sign(part.name || "");
  else if (part.type === "date") node = el("time", {}, date(part.timestamp, part.format || "", part.fallback));
  else node = part.text || "";
  if (style.code) node = el("code", {}, node);
  if (style.bold) node = el("strong", {}, node);
  if (style.italic) node = el("em", {}, node);
  if (style.strike) node = el("s", {}, node);
  return node;
}

function rich(element) {
  const inner = element.elements || [];
  if (element.type === "rich_text_preformatted") return el("pre", {}, inner.map((part) => part.text || part.url || ""));
  if (element.type === "rich_text_quote") return el("blockquote", { class: "text" }, inner.map(richElement));
  if (element.type === "rich_text_list") {
    return el(element.style === "ordered" ? "ol" : "ul", {}, inner.map((one) => el("li", {}, (one.elements || []).map(richElement))));
  }
  return el("div", { class: "text" }, inner.map(richElement));
}

// Elements that are clicked, chosen or typed into. `place` says where they stand.

const entered = (place, block, element) => {
  const values = place.entered && place.entered[block.block_id];
  return values && values[element.action_id];
};
const target = (place, block, element) => ({ ...place.name, block_id: block.block_id, action_id: element.action_id });
const options = (element) => element.options || (element.option_groups || []).flatMap((one) => one.options || []);

function confirmed(element) {
  const wish = element.confirm;
  if (!wish) return Promise.resolve(true);
  return new Promise((resolve) => {
    const dialog = $("confirm");
    const done = (answer) => { dialog.close(); dialog.replaceChildren(); resolve(answer); };
    dialog.replaceChildren(
      el("header", {}, el("h2", { id: "confirm-title" }, textObject(wish.title || { type: "plain_text", text: "Are you sure?" }))),
      el("div", { class: "inside text" }, textObject(wish.text)),
      el("footer", {},
        el("button", { class: "button", onclick: () => done(false) }, textObject(wish.deny || { type: "plain_text", text: "Cancel" })),
        el("button", { class: wish.style === "danger" ? "button danger solid" : "button primary", onclick: () => done(true) }, textObject(wish.confirm || { type: "plain_text", text: "Yes" })),
      ),
    );
    dialog.oncancel = () => done(false);
    dialog.showModal();
  });
}

function button(place, block, element) {
  const node = el("button", {
    class: "button " + (element.style || ""), type: "button", "aria-label": element.accessibility_label,
    onclick: async () => {
      if (!(await confirmed(element))) return;
      node.disabled = true;
      if (element.url) window.open(link(element.url).href, "_blank", "noopener");
      await act({ kind: "click", ...target(place, block, element) });
      node.disabled = false;
    },
  }, textObject(element.text));
  return node;
}

async function choose(place, block, element, values) {
  if (!(await confirmed(element))) return;
  await act({ kind: "select", ...target(place, block, element), values });
}

function staticSelect(place, block, element, id) {
  const now = entered(place, block, element);
  const chosen = (now && now.selected_option) || element.initial_option;
  const option = (one) => el("option", { value: one.value, selected: chosen && chosen.value === one.value }, one.text.text);
  const grouped = (element.option_groups || []).map((one) => el("optgroup", { label: one.label.text }, (one.options || []).map(option)));
  return el("select", {
    class: "pick", id, "aria-label": id ? null : (element.placeholder ? element.placeholder.text : "Choose"),
    onchange: (event) => event.target.value && choose(place, block, element, [event.target.value]),
  }, el("option", { value: "", selected: !chosen }, element.placeholder ? element.placeholder.text : "Choose an option"),
  element.options ? element.options.map(option) : grouped);
}

function peopleSelect(place, block, element, id) {
  const users = element.type === "users_select";
  const field = { users_select: "selected_user", channels_select: "selected_channel" }[element.type] || "selected_conversation";
  const now = entered(place, block, element);
  const list = users ? state.people.filter((one) => one.active).map((one) => [one.id, one.real_name])
    : state.channels.filter((one) => one.kind !== "direct").map((one) => [one.id, "#" + one.name]);
  return el("select", { class: "pick", id, "aria-label": id ? null : "Choose", onchange: (event) => event.target.value && choose(place, block, element, [event.target.value]) },
    el("option", { value: "" }, element.placeholder ? element.placeholder.text : "Choose"),
    list.map(([value, text]) => el("option", { value, selected: now && now[field] === value }, text)));
}

let lists = 0;
function externalSelect(place, block, element, id) {
  const now = entered(place, block, element);
  const chosen = (now && now.selected_option) || element.initial_option;
  const least = element.min_query_length === undefined ? 3 : element.min_query_length;
  const listId = `list-${++lists}`;
  let found = [], active = -1, asked = 0, timer = 0;
  const list = el("ul", { id: listId, role: "listbox", hidden: true });
  const input = el("input", {
    class: "line", id, role: "combobox", "aria-expanded": "false", "aria-controls": listId, "aria-autocomplete": "list",
    autocomplete: "off", placeholder: element.placeholder ? element.placeholder.text : "Type to search",
    "aria-label": id ? null : (element.placeholder ? element.placeholder.text : "Search"), value: chosen ? chosen.text.text : "",
  });
  const show = (open) => { list.hidden = !open; input.setAttribute("aria-expanded", String(open)); };
  const draw = () => {
    list.replaceChildren(...(found.length ? found.map((one, index) => el("li", {
      role: "option", id: `${listId}-${index}`, "aria-selected": String(index === active),
      onmousedown: (event) => { event.preventDefault(); pick(one); },
    }, one.text.text, one.description ? el("small", {}, one.description.text) : null)) : [el("li", { class: "none" }, "No results")]));
    input.setAttribute("aria-activedescendant", active >= 0 ? `${listId}-${active}` : "");
  };
  const pick = async (one) => { input.value = one.text.text; show(false); await choose(place, block, element, [one.value]); };
  const ask = async () => {
    const typed = input.value.trim(), number = ++asked;
    if (typed.length < least) { show(false); return; }
    const answer = await act({ kind: "suggest", ...target(place, block, element), typed });
    if (!answer || number !== asked || document.activeElement !== input) return;
    found = options(answer); active = found.length ? 0 : -1; draw(); show(true);
  };
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 180); });
  input.addEventListener("focus", () => { if (least === 0 && !input.value) ask(); });
  input.addEventListener("blur", () => show(false));
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      active = (active + (event.key === "ArrowDown" ? 1 : -1) + found.length) % Math.max(found.length, 1);
      draw(); event.preventDefault();
    } else if (event.key === "Enter" && found[active]) { pick(found[active]); event.preventDefault(); }
    else if (event.key === "Escape") { show(false); event.preventDefault(); event.stopPropagation(); }
  });
  return el("div", { class: "combo" }, input, list);
}

function overflow(place, block, element) {
  const list = el("ul", { hidden: true });
  const toggle = el("button", { class: "button", type: "button", "aria-haspopup": "true", "aria-expanded": "false", "aria-label": "More actions" }, "⋯");
  const show = (open) => { list.hidden = !open; toggle.setAttribute("aria-expanded", String(open)); };
  toggle.addEventListener("click", () => show(list.hidden));
  options(element).forEach((one) => list.append(el("li", {}, el("button", { type: "button", onclick: () => { show(false); choose(place, block, element, [one.value]); } }, textObject(one.text)))));
  const node = el("div", { class: "menu" }, toggle, list);
  node.addEventListener("focusout", (event) => { if (!node.contains(event.relatedTarget)) show(false); });
  return node;
}

function choices(place, block, element) {
  const many = element.type === "checkboxes";
  const now = entered(place, block, element) || {};
  const chosen = many ? (now.selected_options || element.initial_options || []) : [now.selected_option || element.initial_option].filter(Boolean);
  const name = `choice-${++lists}`;
  const boxes = [];
  return el("div", { role: many ? "group" : "radiogroup" }, options(element).map((one) => {
    const box = el("input", { type: many ? "checkbox" : "radio", name, value: one.value, onchange: () => choose(place, block, element, boxes.filter((box) => box.checked).map((box) => box.value)) });
    box.checked = chosen.some((other) => other.value === one.value);
    boxes.push(box);
    return el("label", { class: "choice" }, box, el("span", {}, textObject(one.text), one.description ? el("small", {}, textObject(one.description)) : null));
  }));
}

function typed(place, block, element, id) {
  const now = entered(place, block, element);
  const value = now && now.value !== undefined && now.value !== null ? now.value : (element.initial_value || "");
  const kinds = { number_input: "number", email_text_input: "email", url_text_input: "url" };
  const attributes = {
    class: "line", id, value, placeholder: element.placeholder ? element.placeholder.text : null, maxlength: element.max_length,
    "aria-label": id ? null : "Text", autocomplete: "off",
  };
  const node = element.multiline ? el("textarea", { ...attributes, rows: 4 }) : el("input", { ...attributes, type: kinds[element.type] || "text" });
  let sent = value;
  let sending = Promise.resolve();
  // Whoever waits for it waits for what is under way too.
  node.flush = () => {
    if (node.value !== sent) {
      sent = node.value;
      const text = sent;
      sending = sending.then(() => act({ kind: "fill", ...target(place, block, element), text }));
    }
    return sending;
  };
  node.dirty = () => node.value !== sent;
  node.addEventListener("change", node.flush);
  node.classList.add("typed");
  node.dataset.key = `${block.block_id}/${element.action_id}`;
  return node;
}

function picker(place, block, element, id) {
  const kind = element.type === "datepicker" ? "date" : "time";
  const now = entered(place, block, element) || {};
  const value = now[`selected_${kind}`] || element[`initial_${kind}`] || "";
  return el("input", { class: "line", type: kind, id, value, "aria-label": id ? null : kind, onchange: (event) => choose(place, block, element, [event.target.value]) });
}

function element(place, block, one, id) {
  switch (one.type) {
    case "button": return button(place, block, one);
    case "static_select": return staticSelect(place, block, one, id);
    case "external_select": return externalSelect(place, block, one, id);
    case "users_select": case "channels_select": case "conversations_select": return peopleSelect(place, block, one, id);
    case "overflow": return overflow(place, block, one);
    case "checkboxes": case "radio_buttons": return choices(place, block, one);
    case "datepicker": case "timepicker": return picker(place, block, one, id);
    case "plain_text_input": case "number_input": case "email_text_input": case "url_text_input": return typed(place, block, one, id);
    case "multi_static_select": return choices(place, block, { ...one, type: "checkboxes" });
    case "image": return el("span", { class: "missing", role: "img", "aria-label": one.alt_text }, one.alt_text);
    default: return el("span", { class: "missing" }, `(${one.type})`);
  }
}

// Blocks.

function input(place, block) {
  const id = `input-${++lists}`;
  const wrong = place.errors && place.errors[block.block_id];
  const title = [textObject(block.label), block.optional ? el("span", { class: "optional" }, " (optional)") : null];
  const several = ["checkboxes", "radio_buttons", "multi_static_select"].includes(block.element.type);
  const inner = element(place, block, block.element, id);
  return el("div", { class: wrong ? "field bad" : "field" },
    several ? el("fieldset", {}, el("legend", {}, title), inner) : [el("label", { for: id }, title), inner],
    wrong ? el("div", { class: "wrong", role: "alert" }, wrong) : null,
    block.hint ? el("div", { class: "hint" }, textObject(block.hint)) : null);
}

function renderBlock(place, block) {
  switch (block.type) {
    case "header": return el("div", { class: "block header", role: "heading", "aria-level": "3" }, textObject(block.text));
    case "divider": return el("hr");
    case "section": return el("div", { class: "block section" },
      el("div", { class: "main" },
        block.text ? el("div", { class: "text" }, textObject(block.text)) : null,
        block.fields ? el("div", { class: "fields" }, block.fields.map((one) => el("div", { class: "text" }, textObject(one)))) : null),
      block.accessory ? el("div", {}, element(place, block, block.accessory)) : null);
    case "context": return el("div", { class: "block context" }, block.elements.map((one) => (one.type === "image"
      ? el("span", { role: "img", "aria-label": one.alt_text }, one.alt_text) : el("span", { class: "text" }, textObject(one)))));
    case "actions": return el("div", { class: "block actions" }, block.elements.map((one) => element(place, block, one)));
    case "input": return input(place, block);
    case "rich_text": return el("div", { class: "block" }, (block.elements || []).map(rich));
    case "markdown": return el("div", { class: "block text" }, mrkdwn(String(block.text || "").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/\*\*(.+?)\*\*/g, "*$1*")));
    case "table": return el("table", { class: "block" }, (block.rows || []).map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell && cell.type === "rich_text" ? (cell.elements || []).map(rich) : (cell && cell.text) || "")))));
    case "image": return el("div", { class: "block missing", role: "img", "aria-label": block.alt_text }, block.alt_text);
    default: return el("div", { class: "block missing" }, `(${block.type})`);
  }
}

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
      message.reactions.length ? el("div", { class: "reactions" }, message.reactions.map((one) => el("span", { title: one.name }, `${sign(one.name)} ${one.users.length}`))) : null,
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
  drawFeed($("feed"), place, top, false, intro);
  if (place.archived) { $("composer").dataset.key = ""; $("composer").replaceChildren(el("div", { class: "says" }, "This channel is archived.")); }
  else composer($("composer"), `${state.me}/${place.id}`, place.kind === "direct" ? "Message Foredeck" : `Message #${title}, or /deploy …`, false);
  if (thread) {
    $("thread-place").textContent = place.kind === "direct" ? title : `# ${title}`;
    drawFeed($("replies"), place, place.messages.filter((one) => one.ts === thread || (one.is_reply && one.thread_ts === thread)), true, null);
    composer($("thread-composer"), `${state.me}/${place.id}/${thread}`, "Reply", true);
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
