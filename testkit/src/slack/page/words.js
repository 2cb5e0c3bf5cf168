// Text of the page: elements, mrkdwn, rich text. What people and apps wrote becomes text nodes, never HTML.

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
    if (before) out.push(...withSigns(unescape(before)));
    if (found[1]) out.push(special(found[1]));
    else if (found[2]) out.push(el("code", {}, plainOf(found[2])));
    else out.push(el({ "*": "strong", _: "em", "~": "s" }[found[4]], {}, inline(found[5])));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest) out.push(...withSigns(unescape(rest)));
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
  return withSigns(object.text || "", object.emoji !== false);
}

// Rich text.

function richElement(part) {
  const style = part.style || {};
  let node;
  if (part.type === "text") node = withSigns(part.text || "", false);
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
