// Blocks of the page, and the elements on them that are clicked, chosen or typed into.

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

// A date and a time, by the reader's own clock; what is sent are seconds since 1970.
function momentPicker(place, block, element, id) {
  const now = entered(place, block, element) || {};
  const seconds = now.selected_date_time || element.initial_date_time;
  const two = (number) => String(number).padStart(2, "0");
  const at = seconds ? new Date(seconds * 1000) : null;
  const value = at ? `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}` : "";
  const chosen = (event) => choose(place, block, element, [String(Math.floor(new Date(event.target.value).getTime() / 1000))]);
  return el("input", { class: "line", type: "datetime-local", id, value, "aria-label": id ? null : "date and time", onchange: chosen });
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
    case "datetimepicker": return momentPicker(place, block, one, id);
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
