"use strict";
(() => {
  const rows = Array.from(document.querySelectorAll(".r"));
  const form = document.getElementById("filters");
  const find = document.getElementById("find");
  const count = document.getElementById("count");
  const chips = Array.from(document.querySelectorAll(".chip"));

  // A channel's rows are shown when no channel of its connection is chosen, or
  // when it is.
  function apply() {
    const kinds = new Set(Array.from(form.querySelectorAll("[name=kind]:checked"), (b) => b.value));
    const chosen = new Map();
    for (const c of chips) {
      if (c.getAttribute("aria-pressed") === "true") {
        if (!chosen.has(c.dataset.conn)) chosen.set(c.dataset.conn, new Set());
        chosen.get(c.dataset.conn).add(c.dataset.channel);
      }
    }
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const r of rows) {
      const only = chosen.get(r.dataset.conn);
      let on = kinds.has(r.dataset.kind) && (chosen.size === 0 || (only !== undefined && only.has(r.dataset.channel)));
      if (on && words.length) {
        const text = r.textContent.toLowerCase();
        on = words.every((w) => text.includes(w));
      }
      r.classList.toggle("off", !on);
      if (on) shown++;
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
    const open = e.target.textContent === "open all";
    for (const r of rows) if (!r.classList.contains("off")) r.open = open;
    e.target.textContent = open ? "close all" : "open all";
  });

  // What is on hover: the fields, made only when somebody looks.
  document.addEventListener("mouseover", (e) => {
    const m = e.target.closest && e.target.closest(".m");
    if (!m || m.title) return;
    const names = Array.from(m.closest(".r").querySelectorAll("dt"), (t) => t.textContent);
    const values = Array.from(m.closest(".r").querySelectorAll("dd"), (t) => t.textContent);
    m.title = names.map((n, i) => n + ": " + values[i]).join("\n");
  });
})();
