"use strict";
// The report as `-o json` gives it. Text of others goes into the page as text only, and never as HTML.
const report = JSON.parse(document.getElementById("report").textContent);
const element = (id) => document.getElementById(id);

// What each state means for whoever reads: nothing to do, a change, somebody has to look, something is broken.
const TONES = {
  unchanged: "good", current: "good", fine: "good", plugin: "good", "no-output": "good",
  pending: "change", changed: "change", due: "change", "not-everywhere": "change", excess: "change",
  blocked: "warn", "not-started": "warn", suspended: "warn", "held-elsewhere": "warn", findings: "warn",
  failed: "bad", unknown: "bad", expired: "bad", revoked: "bad", missing: "bad",
};
const SIGNS = { good: "✓", change: "~", warn: "!", bad: "✕" };
const WORDS = { unchanged: "up to date", pending: "to change", plugin: "exec plugin", excess: "more than intended" };
const word = (state) => WORDS[state] || state.replaceAll("-", " ");
const tone = (state) => TONES[state] || "warn";

// Shows characters that would be invisible, or would turn the text around.
const visible = (text) => String(text).replace(
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
  (character) => `\\u{${character.codePointAt(0).toString(16)}}`);

function make(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) made.append(child instanceof Node ? child : visible(child));
  }
  return made;
}

const badge = (state, text) =>
  make("span", { class: `state ${tone(state)}` }, `${SIGNS[tone(state)]} ${text || word(state)}`);

// One row for each cluster, whatever the command reports.
function rowsOf() {
  if (report.grants) {
    const rows = new Map();
    for (const grant of report.grants) {
      let row = rows.get(grant.cluster);
      if (!row) {
        row = { name: grant.cluster, labels: grant.labels || {}, state: grant.state, cells: new Map(), grants: [] };
        rows.set(grant.cluster, row);
      }
      row.cells.set(grant.profile, grant.state);
      row.grants.push(grant);
    }
    return [...rows.values()];
  }
  return report.clusters.map((cluster) => {
    const cells = new Map();
    for (const profile of cluster.profiles || []) cells.set(profile, cluster.state);
    for (const grant of cluster.grants || []) {
      cells.set(grant.profile, cluster.state === "failed" ? "failed" : grant.state);
    }
    return { name: cluster.name, labels: cluster.labels || {}, state: cluster.state, cells, cluster };
  });
}

const rows = rowsOf();
const profiles = [...new Set(rows.flatMap((row) => [...row.cells.keys()]))].sort();
const searchText = (row) => (row.text ??= JSON.stringify(row.cluster || row.grants).toLowerCase());
// What is changed on a cluster, without what is different on each: the files.
const changeKey = (row) =>
  (row.key ??= JSON.stringify((row.cluster?.changes || []).map((change) => ({ ...change, files: undefined }))));

// The filters, as they stand in the address.
const FIELDS = ["search", "state", "profile", "label", "same"];
let filters = {};

function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  filters = Object.fromEntries(FIELDS.map((field) => [field, parameters.get(field) || ""]));
  for (const field of FIELDS) if (element(field)) element(field).value = filters[field];
}

function setFilter(changed) {
  filters = { ...filters, ...changed };
  for (const field of FIELDS) if (element(field) && field in changed) element(field).value = filters[field];
  const parameters = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  history.replaceState(null, "", parameters.size ? `#${parameters}` : location.pathname + location.search);
  show();
}

function matches(row) {
  const { search, state, profile, label, same } = filters;
  const [key, value] = label.includes("=") ? [label.slice(0, label.indexOf("=")), label.slice(label.indexOf("=") + 1)] : [];
  return (!state || row.state === state || [...row.cells.values()].includes(state))
    && (!profile || row.cells.has(profile))
    && (!label || (key === undefined ? label in row.labels : row.labels[key] === value))
    && (!same || changeKey(row) === sameKey())
    && (!search || searchText(row).includes(search.toLowerCase()));
}

const sameKey = () => changeKey(rows.find((row) => row.name === filters.same) || {});

// Rows are made as they come into view: thousands at once would be slow.
const CHUNK = 100;
let shown = [];
let made = 0;

function show() {
  shown = rows.filter(matches);
  made = 0;
  element("rows").replaceChildren();
  const clusters = `${rows.length} cluster${rows.length === 1 ? "" : "s"}`;
  element("count").textContent =
    (shown.length === rows.length ? clusters : `${shown.length} of ${clusters}`)
    + (filters.same ? `, with the same changes as ${visible(filters.same)}` : "");
  for (const button of element("summary").children) {
    button.setAttribute("aria-pressed", String(button.dataset.state === filters.state));
  }
  makeRows(CHUNK);
}

function makeRows(number) {
  const next = shown.slice(made, made + number);
  element("rows").append(...next.map(rowElement));
  made += next.length;
  const left = shown.length - made;
  element("more").hidden = left === 0;
  element("more").textContent = `Show more: ${left} left`;
}

function rowElement(row) {
  const button = make("button", { type: "button", "aria-expanded": "false", class: "name" }, row.name);
  const labels = Object.entries(row.labels).map(([key, value]) => `${key}=${value}`).join(", ");
  const cells = profiles.map((profile) =>
    make("td", null, row.cells.has(profile) ? badge(row.cells.get(profile)) : null));
  const line = make("tr", null, make("th", { scope: "row" }, button), make("td", null, badge(row.state)), cells,
    make("td", { class: "labels" }, labels));
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) line.nextElementSibling.remove();
    else line.after(make("tr", { class: "detail" }, make("td", { colspan: profiles.length + 3 }, make("div", null, detail(row)))));
  });
  return line;
}

const list = (items) => (items.length ? make("ul", null, items.map((item) => make("li", { class: "wrap" }, item))) : null);
const titled = (title, ...content) => [make("h3", null, title), ...content];
const hint = (text) => (text ? make("div", { class: "soft wrap" }, `hint: ${text}`) : null);

function detail(row) {
  const cluster = row.cluster || {};
  const parts = [];
  if (cluster.wave) parts.push(make("p", { class: "soft" }, `wave ${cluster.wave}`));
  if (cluster.error) {
    const { step, steps, doing, cause } = cluster.error;
    const where = step > 0 ? `step ${step} of ${steps}, ${doing}` : doing;
    parts.push(make("p", { class: "wrap" }, badge("failed"), ` ${where}: ${cause}`, hint(cluster.error.hint)));
  }
  if (cluster["not-started"]) parts.push(make("p", null, badge("not-started"), ` ${word(cluster["not-started"])}`));
  for (const blocker of cluster.blockers || []) {
    parts.push(make("p", { class: "wrap" }, badge("blocked"), ` ${blocker.message}`, hint(blocker.hint)));
  }
  if (cluster.changes?.length) parts.push(...titled("Changes", changes(row)));
  if (cluster.credentials?.length) {
    parts.push(...titled("Credentials", list(cluster.credentials.map((one) =>
      `${one.profile}: generation ${one.generation}, expires ${one.expires}${one.minted ? ", minted by this run" : ""}`))));
  }
  if (cluster.notes?.length) parts.push(...titled("Notes", list(cluster.notes.map((note) => note.message))));
  for (const grant of row.grants || []) parts.push(...titled(grant.profile, ...statusDetail(grant)));
  for (const grant of cluster.grants || []) parts.push(...titled(grant.profile, ...verifyDetail(grant)));
  return parts.length ? parts : make("p", { class: "soft" }, "nothing else is known");
}

function changes(row) {
  const others = rows.filter((other) => other !== row && changeKey(other) === changeKey(row)).length;
  const same = others && make("button", { type: "button", class: "same", onclick: () => setFilter({ same: row.name }) },
    `${others} other cluster${others === 1 ? " has" : "s have"} the same changes: show them`);
  const items = row.cluster.changes.map((change) => {
    const object = change.kind ? `${change.kind} ${change.namespace ? `${change.namespace}/` : ""}${change.name}` : `for ${change.profile}`;
    const facts = [change.generation && `generation ${change.generation}`, change.reason,
      change.files?.length && `${change.files.length} file${change.files.length === 1 ? "" : "s"}`].filter(Boolean);
    const undone = change.done === false ? make("span", { class: "bad" }, " not done") : null;
    const lines = (change.fields || []).flatMap((field) => [
      ...(field.removed || []).map((line) => make("div", { class: "removed" }, `- ${field.field}: ${line}`)),
      ...(field.added || []).map((line) => make("div", { class: "added" }, `+ ${field.field}: ${line}`)),
    ]);
    const more = [...(change.overrules || []).map((manager) => `overrules field manager ${manager}`),
      change["adopted-from"] && `taken over from ${change["adopted-from"]}`].filter(Boolean);
    const risk = change.risk ? ` [${[change.risk.class, ...(change.risk.escalating || [])].join(", ")}]` : "";
    return make("li", null,
      make("span", { class: "wrap" }, `${change.action} ${object}${facts.length ? ` (${facts.join(", ")})` : ""}${risk}`), undone,
      lines.length ? make("pre", null, lines) : null, list(more));
  });
  return make("div", null, same || null, make("ul", null, items));
}

function statusDetail(grant) {
  const facts = [
    grant.detail, grant.error, grant.generation && `generation ${grant.generation}`,
    grant.issued && `issued ${grant.issued}`, grant.expires && `expires ${grant.expires}`, grant.due && `due ${grant.due}`,
    grant["clamped-seconds"] && `shortened from ${grant["requested-seconds"]} to ${grant["clamped-seconds"]} seconds`,
    grant.superseded?.length && `older ones still live: ${grant.superseded.join(", ")}`,
    ...(grant["other-holders"] || []).map(([holder, number]) => `holder ${holder} has ${number} more`),
    grant.drift === "yes" && `drift: ${(grant.drifted || []).join("; ")}`,
    `ServiceAccount ${grant.namespace}/${grant["service-account"]}`,
    ...(grant.outputs || []).map((output) =>
      `${output.path} holds ${word(output.holds)}${output.generation ? ` (generation ${output.generation})` : ""}`),
  ];
  return [make("p", null, badge(grant.state)), list(facts.filter(Boolean))];
}

function verifyDetail(grant) {
  const rights = (groups) => (groups || []).map((group) =>
    `${(group.verbs || []).join(", ")} on ${group.url ? `URL ${group.url}` : [group.resource, group["resource-name"]].filter(Boolean).join("/")}`
    + (group["api-group"] ? ` (${group["api-group"]})` : ""));
  const binding = (one) => make("div", { class: "wrap" }, `${one.binding.kind} ${one.binding.name} grants ${one["role-kind"]} ${one.role}`,
    list(rights(one.rights)));
  const counted = grant.rights || {};
  return [
    make("p", null, badge(grant.state), ` ServiceAccount ${grant["service-account"]}; ${counted.allowed} rights allowed, `
      + `${counted.denied} denied, ${counted.unknown} unknown`),
    list((grant.credentials || []).map((one) => `${one.generation ? `generation ${one.generation}` : "exec plugin"}: ${one.state}, in ${one.files.join(", ")}`)),
    ...(grant.findings || []).map((finding) => make("p", { class: "wrap" }, badge("findings", finding.message), hint(finding.hint))),
    ...(grant.denied?.length ? titled("Denied", list(grant.denied.flatMap((part) => rights(part.rights)))) : []),
    ...(grant.excess?.length ? titled("Beyond the profile", ...grant.excess.map(binding)) : []),
    list((grant.notes || []).map((note) => note.message)),
  ];
}

function timeline() {
  const timed = rows.filter((row) => row.cluster?.began && row.cluster?.ended).map((row) => (
    { row, from: Date.parse(row.cluster.began), to: Date.parse(row.cluster.ended) }));
  if (!timed.length) return;
  timed.sort((one, other) => one.from - other.from);
  const first = timed[0].from;
  const last = Math.max(...timed.map((one) => one.to));
  const seconds = (length) => `${(length / 1000).toFixed(1)} s`;
  const slowest = [...timed].sort((one, other) => (other.to - other.from) - (one.to - one.from)).slice(0, 5);
  const text = `The first cluster began at ${new Date(first).toISOString()}, the last ended ${seconds(last - first)} later. `
    + `The slowest: ${slowest.map((one) => `${visible(one.row.name)} (${seconds(one.to - one.from)})`).join(", ")}.`;
  element("timeline-text").textContent = text;
  element("bars").setAttribute("aria-label", text);
  element("timeline").hidden = false;
  const draw = () => {
    const canvas = element("bars");
    // A few bars need little room, thousands share what there is.
    canvas.style.height = `${Math.min(160, timed.length * 14)}px`;
    const scale = window.devicePixelRatio || 1;
    const { width, height } = canvas.getBoundingClientRect();
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const pen = canvas.getContext("2d");
    const colors = getComputedStyle(document.documentElement);
    timed.forEach((one, position) => {
      pen.fillStyle = colors.getPropertyValue(`--${tone(one.row.state)}`);
      const x = ((one.from - first) / Math.max(1, last - first)) * canvas.width;
      const length = ((one.to - one.from) / Math.max(1, last - first)) * canvas.width;
      pen.fillRect(x, (position / timed.length) * canvas.height, Math.max(scale, length),
        Math.max(scale / 2, (canvas.height / timed.length) * 0.8));
    });
  };
  draw();
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

function start() {
  element("title").textContent = `kubemint ${report.command}`;
  const facts = { inventory: report.inventory, holder: report.holder, began: report.started, run: report.run, kubemint: report.kubemint };
  element("facts").append(...Object.entries(facts).filter(([, value]) => value).map(([name, value]) =>
    make("div", null, make("dt", null, name), make("dd", null, value))));
  const counts = new Map();
  for (const row of rows) counts.set(row.state, (counts.get(row.state) || 0) + 1);
  element("summary").append(...[...counts].map(([state, number]) => make("button", {
    type: "button", class: tone(state), "data-state": state, "aria-pressed": "false",
    onclick: () => setFilter({ state: filters.state === state ? "" : state }),
  }, `${SIGNS[tone(state)]} ${number} ${word(state)}`)));
  const states = new Set(rows.flatMap((row) => [row.state, ...row.cells.values()]));
  element("state").append(make("option", { value: "" }, "all"), ...[...states].sort().map((state) => make("option", { value: state }, word(state))));
  element("profile").append(make("option", { value: "" }, "all"), ...profiles.map((profile) => make("option", { value: profile }, profile)));
  const labels = new Set(rows.flatMap((row) => Object.entries(row.labels).map(([key, value]) => `${key}=${value}`)));
  // More suggestions would not be read; any label can be typed.
  element("labels").append(...[...labels].sort().slice(0, 500).map((label) => make("option", { value: label })));
  element("head").append(...["cluster", "state", ...profiles, "labels"].map((name) => make("th", { scope: "col", class: name === "labels" ? "labels" : undefined }, name)));
  for (const field of ["search", "state", "profile", "label"]) {
    element(field).addEventListener("input", (event) => setFilter({ [field]: event.target.value }));
  }
  element("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    setFilter(Object.fromEntries(FIELDS.map((field) => [field, ""])));
  });
  element("filters").addEventListener("submit", (event) => event.preventDefault());
  element("more").addEventListener("click", () => makeRows(CHUNK));
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && !element("more").hidden && makeRows(CHUNK),
    { rootMargin: "400px" }).observe(element("more"));
  window.addEventListener("hashchange", () => { readAddress(); show(); });
  window.addEventListener("beforeprint", () => {
    const MOST = 2000;
    if (made < MOST) makeRows(MOST - made);
    const left = shown.length - made;
    element("left-out").textContent = left ? `${left} more rows are not printed; filter to print them.` : "";
  });
  readAddress();
  show();
  timeline();
}

start();
