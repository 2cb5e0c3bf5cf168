// The signs of the page, drawn where a deployment bot needs them, since not every machine has a font with them.

const SIGNS = {
  white_check_mark: "✅", heavy_check_mark: "✔️", x: "❌", warning: "⚠️", rocket: "🚀", eyes: "👀", lock: "🔒",
  unlock: "🔓", hourglass: "⌛", hourglass_flowing_sand: "⏳", stopwatch: "⏱️", no_entry: "⛔", no_entry_sign: "🚫",
  tada: "🎉", bell: "🔔", octagonal_sign: "🛑", question: "❓", information_source: "ℹ️", arrow_right: "➡️",
  arrows_counterclockwise: "🔄", rewind: "⏪", fast_forward: "⏩", large_green_circle: "🟢", large_yellow_circle: "🟡",
  large_blue_circle: "🔵", red_circle: "🔴", white_circle: "⚪", black_circle: "⚫", thumbsup: "👍", "+1": "👍",
  "-1": "👎", wave: "👋", fire: "🔥", ship: "🚢", anchor: "⚓", package: "📦", memo: "📝", mag: "🔍", link: "🔗",
  calendar: "📅", zzz: "💤", snowflake: "❄️", raised_hand: "✋", hand: "✋", double_vertical_bar: "⏸️",
  arrow_forward: "▶️", black_square_for_stop: "⏹️", bulb: "💡", speech_balloon: "💬", gear: "⚙️", wastebasket: "🗑️",
  leftwards_arrow_with_hook: "↩️", grey_question: "❔", checkered_flag: "🏁", hammer_and_wrench: "🛠️",
};

const disc = (color) => [["circle", { cx: 8, cy: 8, r: 6.5, fill: color }]];
const tile = (color) => ["rect", { x: 1, y: 1, width: 14, height: 14, rx: 3, fill: color }];
const stroke = (d, color, width = 2) => ["path", { d, fill: "none", stroke: color, "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round" }];
const shape = (d, fill) => ["path", { d, fill }];
const sand = shape("M5.2 12.6 8 9.6l2.8 3v.9H5.2z", "#e0a930");
const glass = [shape("M3.2 1h9.6v1.8H3.2zM3.2 13.2h9.6V15H3.2z", "#8a6d3b"), stroke("M4.4 2.8v1.6L7.4 8l-3 3.6v1.6M11.6 2.8v1.6L8.6 8l3 3.6v1.6", "#8a6d3b", 1.3), sand];

/** Each sign as shapes on a field of 16 by 16. */
const DRAWN = {
  "✅": [tile("#2b9a5b"), stroke("M4.3 8.3 7 11l4.9-5.8", "#fff")],
  "✔": [stroke("M3 8.5 6.5 12 13 4.5", "#2b9a5b", 2.4)],
  "❌": [stroke("M3.5 3.5l9 9M12.5 3.5l-9 9", "#d6293e", 2.8)],
  "⚠": [shape("M8 1.2 15.4 14.4H.6z", "#f2b02c"), stroke("M8 6v3.6", "#3c2c00", 1.7), ["circle", { cx: 8, cy: 12.1, r: 1, fill: "#3c2c00" }]],
  "⌛": glass,
  "⏳": [...glass, shape("M5.4 3.6h5.2L8 6.9z", "#e0a930")],
  "⏱": [shape("M6.5.8h3v1.7h-3z", "#5b6472"), ["circle", { cx: 8, cy: 9, r: 5.6, fill: "#fff", stroke: "#5b6472", "stroke-width": 1.7 }], stroke("M8 9V5.8", "#d6293e", 1.4)],
  "🔄": [tile("#2f7fc1"), stroke("M4.2 7.2A4 4 0 0 1 11.4 5.6M11.8 8.8A4 4 0 0 1 4.6 10.4", "#fff", 1.5), stroke("M11.6 3.4v2.4H9.2M4.4 12.6v-2.4h2.4", "#fff", 1.5)],
  "⛔": [...disc("#d6293e"), shape("M4 6.9h8v2.2H4z", "#fff")],
  "🚫": [["circle", { cx: 8, cy: 8, r: 6, fill: "none", stroke: "#d6293e", "stroke-width": 2 }], stroke("M4 4l8 8", "#d6293e", 2)],
  "🛑": [shape("M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z", "#d6293e")],
  "🟢": disc("#2b9a5b"), "🟡": disc("#f2c12c"), "🔵": disc("#2f7fc1"), "🔴": disc("#d6293e"), "⚫": disc("#2b2a2c"),
  "⚪": [["circle", { cx: 8, cy: 8, r: 6, fill: "#fff", stroke: "#a9a5ad" }]],
  "🔒": [stroke("M5 7V5a3 3 0 0 1 6 0v2", "#5b6472", 1.7), ["rect", { x: 3, y: 6.8, width: 10, height: 8, rx: 1.6, fill: "#e0a930" }]],
  "🔓": [stroke("M5 7V4.6a3 3 0 0 1 5.8-1", "#5b6472", 1.7), ["rect", { x: 3, y: 6.8, width: 10, height: 8, rx: 1.6, fill: "#e0a930" }]],
  "✋": [shape("M3.1 8.2c0-1 1.5-1.1 1.6-.1l.2 1V3.4c0-1.1 1.5-1.1 1.6 0l.1 3.3V2.2c0-1.1 1.6-1.1 1.6 0v4.4l.3-3.6c.1-1.1 1.6-1 1.6.1l-.2 4 .6-2c.3-1 1.7-.7 1.5.4l-1 6.1c-.3 2-1.6 3.4-3.5 3.4-2.3 0-3.3-1.2-3.8-3.1z", "#f0b429")],
  "👀": [["ellipse", { cx: 4.6, cy: 8, rx: 3.1, ry: 4.6, fill: "#fff", stroke: "#5b6472" }], ["ellipse", { cx: 11.4, cy: 8, rx: 3.1, ry: 4.6, fill: "#fff", stroke: "#5b6472" }], ["circle", { cx: 3.6, cy: 8.4, r: 1.5, fill: "#2b2a2c" }], ["circle", { cx: 10.4, cy: 8.4, r: 1.5, fill: "#2b2a2c" }]],
  "🚀": [shape("M14.5 1.5C10.5 1.5 7.5 3.5 5.5 6.5L2.5 7.2 1.6 9l2.6.4 2.4 2.4.4 2.6 1.8-.9.7-3c3-2 5-5 5-9z", "#6b7686"), ["circle", { cx: 10.3, cy: 5.7, r: 1.5, fill: "#d9ecfa" }], shape("M4.3 10.9 2 14l3.1-2.3z", "#e2703a")],
  "ℹ": [tile("#2f7fc1"), stroke("M8 7.4v4", "#fff"), ["circle", { cx: 8, cy: 4.6, r: 1.2, fill: "#fff" }]],
  "⏸": [tile("#2f7fc1"), shape("M5 4.5h2.2v7H5zM8.8 4.5H11v7H8.8z", "#fff")],
  "▶": [tile("#2f7fc1"), shape("M5.5 4.2 11.8 8l-6.3 3.8z", "#fff")],
  "⏹": [tile("#2f7fc1"), shape("M4.8 4.8h6.4v6.4H4.8z", "#fff")],
  "⏪": [tile("#2f7fc1"), shape("M8 4.5v7L3.5 8zM12.5 4.5v7L8 8z", "#fff")],
  "↩": [tile("#2f7fc1"), stroke("M6 4 3.7 6.3 6 8.6M4 6.3h5.2a2.7 2.7 0 0 1 0 5.4H6.5", "#fff", 1.6)],
  "🔔": [shape("M8 1.5c-2.6 0-4 1.9-4 4.3 0 3.2-1.3 4.3-1.8 5.2h11.6c-.5-.9-1.8-2-1.8-5.2 0-2.4-1.4-4.3-4-4.3z", "#e0a930"), ["circle", { cx: 8, cy: 12.8, r: 1.7, fill: "#b9851d" }]],
  "❓": [stroke("M5.2 5.4A2.8 2.8 0 1 1 8.4 8c-.4.2-.5.6-.5 1.6", "#d6293e", 2), ["circle", { cx: 7.9, cy: 13, r: 1.3, fill: "#d6293e" }]],
};

const NAMES = Object.fromEntries(Object.entries(SIGNS).map(([name, symbol]) => [symbol.replace("\uFE0F", ""), name]));
const ANY_SIGN = new RegExp(`:([a-z0-9_+'-]+):|(${Object.keys(DRAWN).join("|")})\\uFE0F?`, "gu");

function drawing(symbol) {
  const make = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const label = (NAMES[symbol] || "sign").replaceAll("_", " ");
  const svg = make("svg", { viewBox: "0 0 16 16", class: "sign", role: "img", "aria-label": label });
  svg.append(...DRAWN[symbol].map(([name, attributes]) => make(name, attributes)));
  return svg;
}

/** One sign by its name, as Slack writes it between colons. */
function sign(name) {
  const symbol = SIGNS[name.replace(/::skin-tone-\d/, "")];
  if (!symbol) return `:${name}:`;
  const bare = symbol.replace("\uFE0F", "");
  return DRAWN[bare] ? drawing(bare) : symbol;
}

/** Text with its signs; without `named`, a name between colons stays text, as Slack has it in plain and rich text. */
function withSigns(text, named = true) {
  const out = [];
  let from = 0;
  for (const found of text.matchAll(ANY_SIGN)) {
    if (found[1] && !(named && SIGNS[found[1]])) continue;
    if (found.index > from) out.push(text.slice(from, found.index));
    out.push(found[1] ? sign(found[1]) : drawing(found[2]));
    from = found.index + found[0].length;
  }
  if (from < text.length) out.push(text.slice(from));
  return out;
}
