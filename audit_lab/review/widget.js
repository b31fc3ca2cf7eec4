// The review desk in a notebook. The kernel owns all state: this file shows what the model holds and sends what was pressed.
// Every text comes from the log of a cluster, so it is only ever set as text, never as markup.

const ROW = 34; // height of a row of the queue, px: only rows in sight are in the page
const VERDICTS = [["m", "malicious"], ["b", "benign"], ["s", "benign-but-suspicious"], ["u", "unsure"]];
const NO_REASON = "unsure";
const MARK = { holds: "✓", wrong: "✗", unchecked: "?" };
const KEYS = [
  ["m b s u", "malicious, benign, benign but suspicious, unsure"], ["1 2 3", "tick a check"], ["n", "put aside"], ["z", "undo"],
  ["↓ ↑", "next and previous case"], ["o", "masked originals"], ["r", "write the reason"], ["Enter", "in the reason: give the verdict chosen"],
  ["Esc", "leave the reason"], ["?", "this help"],
];

function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") node.className = value;
    else if (name === "style") Object.assign(node.style, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) if (child != null && child !== false) node.append(child);
  return node;
}

const raw = (text, extra = "") => h("span", { class: `raw ${extra}` }, String(text ?? ""));
const clock = (time) => (time || "").slice(11, 19);
const section = (title, ...body) => h("section", {}, h("h4", {}, title), ...body);

function render({ model, el }) {
  let sent = 0, chosen = "", helped = false, ticked = new Set(), reason = "", onDesk = null;
  const root = h("div", { class: "audit-review", tabindex: "0", "aria-label": "Review desk", "data-lm-suppress-shortcuts": "true" });
  const head = h("header", {}), note = h("div", { class: "note", role: "status", "aria-live": "polite" });
  const list = h("div", { class: "queue", role: "listbox", "aria-label": "Queue" }), tall = h("div", { class: "tall" });
  const detail = h("div", { class: "detail" }), bar = h("footer", {});
  list.append(tall);
  root.append(head, h("div", { class: "body" }, list, detail), bar, note);
  el.append(root);

  const waiting = () => sent !== model.get("done");
  function send(what) {
    if (waiting()) return;
    sent = model.get("done") + 1;
    model.send({ ...what, seq: sent });
    showNote();
  }
  const view = () => model.get("view");

  // ---- the queue: a window on a long list ----
  const shown = new Map();
  function drawQueue() {
    const items = model.get("items"), marks = model.get("marks"), current = view().case_id;
    tall.style.height = `${items.length * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(items.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
    for (const [at, row] of shown) if (at < first || at >= last) { row.remove(); shown.delete(at); }
    for (let at = first; at < last; at += 1) {
      const item = items[at], mark = marks[item.case_id] || "", key = `${mark}|${item.case_id === current}`;
      const known = shown.get(at);
      if (known && known.dataset.key === key) continue;
      const row = h("div", {
        class: `row ${item.case_id === current ? "on" : ""}`, role: "option", "aria-selected": String(item.case_id === current),
        style: { top: `${at * ROW}px` }, "data-key": key, "data-case": item.case_id, onclick: () => go(item.case_id),
      }, h("span", { class: "place" }, String(item.place)), chip(item), h("span", { class: "what" }, item.label), markOf(mark));
      if (known) known.replaceWith(row); else tall.append(row);
      shown.set(at, row);
    }
  }
  const chip = (item) => item.is_blind ? h("span", { class: "chip blind", title: "the score is hidden" }, "blind") :
    h("span", { class: `chip ${item.priority}` }, `${item.priority} ${item.score == null ? "" : item.score.toFixed(2)}`);
  const markOf = (mark) => h("span", { class: `mark ${mark}`, title: mark }, { malicious: "●", benign: "○", "benign-but-suspicious": "◐", unsure: "?", skipped: "↷" }[mark] || "");
  function seek() {
    const at = model.get("items").findIndex((item) => item.case_id === view().case_id);
    if (at < 0) return;
    if (at * ROW < list.scrollTop) list.scrollTop = at * ROW;
    else if ((at + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * ROW - list.clientHeight;
  }
  const go = (case_id) => send({ do: "go", case_id });
  function step(by) {
    const items = model.get("items"), at = items.findIndex((item) => item.case_id === view().case_id);
    const next = items[Math.min(items.length - 1, Math.max(0, at + by))];
    if (next && next.case_id !== view().case_id) go(next.case_id);
  }
  list.addEventListener("scroll", drawQueue, { passive: true });

  // ---- the case ----
  function drawCase() {
    const v = view();
    if (v.case_id !== onDesk) {
      onDesk = v.case_id; chosen = ""; reason = v.label?.reason || "";
      const done = new Set(v.label?.checks_done || []);
      ticked = new Set((v.checks || []).map((check, at) => (done.has(check) ? at : -1)).filter((at) => at >= 0));
      detail.scrollTop = 0;
    }
    drawHead(v);
    detail.replaceChildren(...(v.case_id ? pieces(v) : [h("p", { class: "empty" }, "Nothing is left in this queue. Undo takes the last label back.")]));
    drawBar(v);
  }
  function drawHead(v) {
    const p = v.progress || {};
    head.replaceChildren(
      h("strong", {}, v.case_id ? `Case ${v.place} of ${v.n}` : "Queue done"), v.case_id ? raw(v.case_id, "quiet") : "",
      h("progress", { max: p.n || 1, value: p.n_done || 0, "aria-label": "cases labelled" }),
      h("span", { class: "quiet" }, `${p.n_done || 0} of ${p.n || 0} labelled, ${p.n_skipped || 0} put aside, ${(p.minutes || 0).toFixed(1)} min, ${v.author || ""}`),
    );
  }
  function pieces(v) {
    const unverified = v.summary_by === "model";
    return [
      h("div", { class: "top" },
        v.is_blind ? h("span", { class: "chip blind" }, "blind: score hidden") :
          h("span", { class: `chip ${v.priority}` }, `${v.priority}  ${v.score == null ? "no score" : v.score.toFixed(2)}`),
        v.priority_reason ? h("span", { class: "quiet" }, v.priority_reason) : "",
        v.kind === "audit" ? h("span", { class: "chip" }, "audit") : "",
        v.action ? h("span", { class: "quiet" }, `proposed: ${v.action}`) : "",
        v.claim ? h("span", { class: "chip" }, `${v.claim.author} has this case open as well`) : "",
        v.label ? h("span", { class: "chip said" }, `you said: ${v.label.verdict}`) : ""),
      h("p", { class: "summary" }, unverified ? h("em", {}, "Unverified, a model's words: ") : "", v.summary || ""),
      v.summary_wrong ? h("p", { class: "warn" }, `Contradicted by the tables: ${v.summary_wrong}`) : "",
      v.omitted ? h("p", { class: "quiet" }, `Not mentioned: ${v.omitted}`) : "",
      v.abstain ? h("p", { class: "quiet" }, `No verdict: ${v.abstain}`) : "",
      v.why ? h("p", { class: "quiet" }, `Why it is here: ${v.why}`) : "",
      timeline(v),
      v.grounds.length ? section("Grounds, checked on the tables", h("ul", { class: "grounds" }, v.grounds.map((ground) =>
        h("li", { class: ground.mark }, h("b", { title: ground.mark }, MARK[ground.mark]), " ", ground.sentence,
          ground.wrong ? h("span", { class: "warn" }, ` (${ground.wrong})`) : "", ground.note ? h("span", { class: "quiet" }, ` ${ground.note}`) : "")))) : "",
      v.checks.length ? section("To check", h("ul", { class: "checks" }, v.checks.map((check, at) =>
        h("li", {}, h("label", {}, h("input", { type: "checkbox", checked: ticked.has(at), "data-check": String(at), onchange: () => tick(at) }),
          h("kbd", {}, String(at + 1)), " ", check))))) : "",
      section("Signals", h("table", {}, h("tbody", {}, v.signals.map((signal) => h("tr", {},
        h("td", {}, h("span", { class: `chip ${signal.severity || ""}` }, signal.severity || signal.kind)), h("td", {}, signal.reason),
        h("td", { class: "quiet" }, raw(signal.detector_id)), h("td", { class: "quiet num" }, signal.strength == null ? "" : signal.strength.toFixed(2)))))),
        left(v.n_left.signals, "signals")),
      section("Events", h("table", { class: "events" }, h("tbody", {}, v.events.map(eventRow))), left(v.n_left.events, "events"),
        h("button", { type: "button", class: "plain", onclick: askOriginals }, h("kbd", {}, "o"), " masked originals"), originals(v)),
    ];
  }
  const left = (n, what) => (n ? h("p", { class: "quiet" }, `… and ${n.toLocaleString("en")} more ${what}`) : "");
  const eventRow = (event) => h("tr", { class: `${event.is_cited ? "cited" : ""} ${event.is_hit ? "hit" : ""}` },
    h("td", { class: "num" }, clock(event.time)), h("td", {}, raw(event.actor)), h("td", {}, event.verb || ""), h("td", {}, raw(event.target)),
    h("td", {}, raw(event.place)), h("td", { class: event.status >= 400 ? "warn num" : "num" }, String(event.status ?? "")), h("td", {}, raw(event.command)));
  function timeline(v) {
    const from = Math.min(...v.sessions.map((one) => Date.parse(one.start))), to = Math.max(...v.sessions.map((one) => Date.parse(one.end)));
    const width = Math.max(1, to - from);
    return section(v.sessions.length > 1 ? `Story of ${v.sessions.length + v.n_left.sessions} sessions` : "Session",
      h("div", { class: "timeline" }, v.sessions.map((one) => h("div", { class: "lane", title: one.summary },
        h("div", { class: "who" }, raw(one.actor || "(no user)"), h("span", { class: "quiet" }, ` ${one.source_ip || ""} ${one.source_class}`)),
        h("div", { class: "track" }, h("div", { class: `span ${one.role || ""}`, style: {
          left: `${(100 * (Date.parse(one.start) - from)) / width}%`, width: `${Math.max(0.6, (100 * (Date.parse(one.end) - Date.parse(one.start))) / width)}%` } })),
        h("div", { class: "quiet num" }, `${clock(one.start)}  ${one.n_events} events`)))),
      v.links.length ? h("ul", { class: "links" }, v.links.map((link) => h("li", {}, `${link.kind.replaceAll("_", " ")}: `, raw(link.object)))) : "",
      v.sessions.slice(0, 1).map((one) => h("p", { class: "quiet" }, one.summary)));
  }
  function askOriginals() { send({ do: "originals" }); }
  function originals(v) {
    const held = model.get("originals");
    if (held.case_id !== v.case_id) return "";
    return h("div", { class: "originals" }, (held.records || []).map((record) => h("pre", {}, JSON.stringify(record, null, 1))));
  }
  function tick(at) {
    if (ticked.has(at)) ticked.delete(at); else ticked.add(at);
    const box = detail.querySelector(`[data-check="${at}"]`);
    if (box) box.checked = ticked.has(at);
  }

  // ---- saying something ----
  const field = h("input", { type: "text", class: "reason", placeholder: "reason: a ticket, who confirmed it, what gave it away", "aria-label": "Reason",
    oninput: () => { reason = field.value; } });
  function drawBar(v) {
    field.value = reason;
    const choices = VERDICTS.map(([key, verdict]) => h("button", { type: "button", class: `verdict ${verdict} ${chosen === verdict ? "chosen" : ""}`,
      "data-verdict": verdict, disabled: !v.case_id, onclick: () => say(verdict) }, h("kbd", {}, key), ` ${verdict}`));
    const others = [["z", "undo", () => send({ do: "undo" })], ["n", "put aside", () => send({ do: "skip" })], ["?", "keys", toggleHelp]]
      .map(([key, name, act]) => h("button", { type: "button", class: "plain", "data-do": name, onclick: act }, h("kbd", {}, key), ` ${name}`));
    const focused = root.getRootNode().activeElement === field;
    bar.replaceChildren(h("div", { class: "choices" }, choices, others), field,
      helped ? h("dl", { class: "keys" }, KEYS.map(([key, what]) => [h("dt", {}, key), h("dd", {}, what)])) : "");
    if (focused) field.focus();
  }
  function say(verdict) {
    if (!view().case_id) return;
    if (!reason.trim() && verdict !== NO_REASON) {
      chosen = verdict;
      drawBar(view());
      field.focus();
      showNote({ text: `${verdict}: write why, then Enter`, error: false });
      return;
    }
    send({ do: "label", verdict, reason, checks: [...ticked].sort() });
    root.focus({ preventScroll: true });
  }
  function toggleHelp() { helped = !helped; drawBar(view()); }
  function showNote(given) {
    const said = given || (waiting() ? { text: "waiting for the kernel …" } : model.get("notice"));
    note.className = `note ${said.error ? "warn" : ""}`;
    note.textContent = said.text || "";
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key;
    const typing = event.composedPath()[0] === field;
    if (typing && key !== "Enter" && key !== "Escape") { event.stopPropagation(); return; }
    const verdict = VERDICTS.find(([letter]) => letter === key.toLowerCase());
    const act = {
      Enter: () => typing && say(chosen || NO_REASON), Escape: () => { chosen = ""; drawBar(view()); root.focus({ preventScroll: true }); showNote(); },
      n: () => send({ do: "skip" }), z: () => send({ do: "undo" }), o: askOriginals, r: () => field.focus(), "?": toggleHelp,
      ArrowDown: () => step(1), ArrowUp: () => step(-1),
    }[key];
    const check = /^[1-9]$/.test(key) && Number(key) <= (view().checks || []).length;
    if (key === "Enter" && !typing) return; // a button that has the focus does its own work
    if (!verdict && !act && !check) return;
    event.preventDefault();
    event.stopPropagation();
    if (typing) act();
    else if (verdict) say(verdict[1]);
    else if (check) tick(Number(key) - 1);
    else act();
  });

  const redraw = () => { drawCase(); seek(); drawQueue(); showNote(); };
  const changed = () => { if (!waiting()) redraw(); };
  model.on("change:done", redraw);
  model.on("change:view", changed);
  const sized = new ResizeObserver(drawQueue);
  sized.observe(list);
  redraw();
  return () => { sized.disconnect(); model.off("change:done", redraw); model.off("change:view", changed); };
}

export default { render };
