"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = Array.from(document.querySelectorAll(".r"));
  const blocks = Array.from(document.querySelectorAll(".g"));
  const form = document.getElementById("filters");
  const find = document.getElementById("find");
  const count = document.getElementById("count");
  const chips = Array.from(document.querySelectorAll(".chip"));
  const foldOf = new Map(rows.map((r, i) => [r, data.rows[i]]));

  // What a row has to tell, as pairs of a name and a text. Only texts are ever put
  // into the page, never markup.
  function told(meaning, fields) {
    const [what, where] = data.meanings[meaning];
    const pairs = [];
    if (what) pairs.push(["meaning", what]);
    if (where) pairs.push(["where", where]);
    for (let i = 0; i < (fields || []).length; i += 2) pairs.push([data.names[fields[i]], fields[i + 1]]);
    return pairs;
  }

  function add(parent, tag, className, text) {
    const e = parent.appendChild(document.createElement(tag));
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function list(row, pairs) {
    const dl = add(row, "dl");
    for (const [name, value] of pairs) {
      const words = name === "meaning" || name === "where" ? "x" : "";
      add(dl, "dt", words, name);
      add(dl, "dd", words, value);
    }
  }

  // A run's messages are rows of their own, in blocks that are filled when they
  // come near.
  const size = 50;
  const unfilled = new Set();
  function fill(block) {
    if (!unfilled.delete(block)) return;
    filling.unobserve(block);
    block.fill();
  }
  const filling = new IntersectionObserver((seen) => {
    for (const s of seen) if (s.isIntersecting) fill(s.target);
  }, { rootMargin: "1000px" });
  addEventListener("beforeprint", () => { for (const b of unfilled) fill(b); });

  function unfold(row, fold) {
    const inner = add(row, "div", "inner");
    const tag = row.querySelector(".m i");
    for (let at = 0; at < fold.r.length; at += size) {
      const part = fold.r.slice(at, at + size);
      const g = add(inner, "div", "g");
      g.style.setProperty("--n", part.length);
      // Its height stands for the rows until they are there.
      g.style.minHeight = "calc(" + part.length + " * var(--row))";
      g.fill = () => {
        g.style.minHeight = "";
        for (const m of part) {
          const d = add(g, "details", row.className.replace(/\brun\b/, ""));
          foldOf.set(d, { m: fold.m, f: m.f });
          const summary = add(d, "summary");
          add(summary, "time", "", m.t);
          const label = add(add(summary, "span", "lanes"), "span", "m");
          if (tag) { add(label, "i", "", tag.textContent); label.append(" "); }
          add(label, "span", "", m.l);
        }
      };
      unfilled.add(g);
      filling.observe(g);
    }
    if (fold.l) add(inner, "p", "left-out", fold.l + " more are left out, since the page would be too large: adit trace show has them");
  }

  // A row's fields are made when it is opened. The event does not bubble.
  function open(row) {
    const fold = foldOf.get(row);
    if (!fold || row.childElementCount > 1) return;
    list(row, told(fold.m, fold.f));
    if (fold.r) unfold(row, fold);
  }
  document.addEventListener("toggle", (e) => { if (e.target.open) open(e.target); }, true);

  // A channel's rows are shown when no channel of its connection is chosen, or
  // when it is.
  const words = new Map(); // of rows, for the search
  function text(row) {
    if (!words.has(row)) {
      const fold = foldOf.get(row);
      words.set(row, (row.firstElementChild.textContent + " " + told(fold.m, fold.f).join(" ")).toLowerCase());
    }
    return words.get(row);
  }
  function apply() {
    const kinds = new Set(Array.from(form.querySelectorAll("[name=kind]:checked"), (b) => b.value));
    const chosen = new Map();
    for (const c of chips) {
      if (c.getAttribute("aria-pressed") === "true") {
        if (!chosen.has(c.dataset.conn)) chosen.set(c.dataset.conn, new Set());
        chosen.get(c.dataset.conn).add(c.dataset.channel);
      }
    }
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const b of blocks) {
      let here = 0;
      for (const r of b.children) {
        const only = chosen.get(r.dataset.conn);
        const on = kinds.has(r.dataset.kind) && (chosen.size === 0 || (only !== undefined && only.has(r.dataset.channel))) &&
          wanted.every((w) => text(r).includes(w));
        r.classList.toggle("off", !on);
        if (on) here++;
      }
      // What is not drawn has the height of what it will show.
      b.style.setProperty("--n", here);
      b.style.containIntrinsicBlockSize = "calc(var(--n) * var(--row))";
      shown += here;
    }
    count.textContent = shown === rows.length ? "" : shown + " of " + rows.length + " rows";
  }

  let timer = 0;
  find.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 120); });
  form.addEventListener("change", apply);
  form.addEventListener("submit", (e) => e.preventDefault());
  for (const c of chips) {
    c.addEventListener("click", () => {
      c.setAttribute("aria-pressed", c.getAttribute("aria-pressed") === "true" ? "false" : "true");
      apply();
    });
  }
  document.getElementById("all").addEventListener("click", (e) => {
    const all = e.target.textContent === "open all";
    for (const r of rows) if (!r.classList.contains("off")) r.open = all;
    e.target.textContent = all ? "close all" : "open all";
  });

  // What is on hover: the fields, made only when somebody looks.
  document.addEventListener("mouseover", (e) => {
    const m = e.target.closest && e.target.closest(".m");
    const fold = m && foldOf.get(m.closest(".r"));
    if (fold && !m.title) m.title = told(fold.m, fold.f).map((p) => p[0] + ": " + p[1]).join("\n");
  });
})();
