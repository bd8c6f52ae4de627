(function () {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const by = (id) => document.getElementById(id);
  const facts = JSON.parse(by("facts").textContent);
  const hidden = new Set();  // "c3": that contender, "p0": that problem
  const say = (text) => { by("status").textContent = text; };

  // --- what is compressed ---
  function unpacked(element) {
    const bytes = Uint8Array.from(atob(element.textContent.trim()), (each) => each.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }
  const groups = new Map();
  function group(name) {
    if (!groups.has(name)) {
      const element = all("script.figures-of").find((each) => each.dataset.group === name);
      groups.set(name, unpacked(element));
    }
    return groups.get(name);
  }
  function plotly() {  // it comes compressed, and takes a moment
    return window.plotlyReady || Promise.resolve(window.Plotly);
  }

  // --- light and dark ---
  const system = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const isDark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const template = JSON.stringify(facts.template);
  const dark = Object.assign({}, facts.dark, {  // and those of plotly's template
    "#1f2933": "#e4e9ee", "#52606d": "#a9b5c1", "#9aa5b1": "#6d7a87", "#2a3f5f": "#c3ccd5", "#EBF0F8": "#303a44", "#DFE8F3": "#303a44", "#C8D4E3": "#46525e"
  });
  const darker = new RegExp(Object.keys(dark).join("|"), "gi");
  const upper = Object.fromEntries(Object.entries(dark).map(([from, to]) => [from.toUpperCase(), to]));
  const inTheme = (json) => isDark() ? json.replace(darker, (colour) => upper[colour.toUpperCase()]) : json;

  // --- figures ---
  const drawn = new Set();
  const waiting = new IntersectionObserver((entries) => {
    entries.filter((each) => each.isIntersecting).forEach((each) => {
      waiting.unobserve(each.target);
      draw(each.target);
    });
  }, { rootMargin: "500px" });

  function whose(trace) {  // the contender that a trace is of
    const plain = (text) => String(text || "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
    const given = facts.contenders.indexOf(trace.legendgroup);
    if (given >= 0) { return given; }
    const name = plain(trace.name);
    const fits = (label) => name === label || name.startsWith(label + ", ") || name.startsWith(label + " (");
    const found = facts.contenders.filter(fits).sort((a, b) => b.length - a.length);
    return found.length ? facts.contenders.indexOf(found[0]) : -1;
  }

  function decoded(values) {
    if (!values || !values.bdata) { return values; }
    const bytes = Uint8Array.from(atob(values.bdata), (each) => each.charCodeAt(0)).buffer;
    const kinds = { f8: Float64Array, f4: Float32Array, i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array,
      i4: Int32Array, u4: Uint32Array };
    return Array.from(new kinds[values.dtype](bytes));
  }

  function along(value, from, to) {  // where a value lies on another axis, between the points known
    let k = from.findIndex((each) => each >= value);
    if (k <= 0) { k = 1; }
    const width = from[k] - from[k - 1];
    return width ? to[k - 1] + (to[k] - to[k - 1]) * (value - from[k - 1]) / width : to[k];
  }
  function onAxis(figure, axes, wanted) {
    if (!axes || !wanted || wanted === axes.own || !axes.titles[wanted]) { return; }
    let most = 0;
    figure.data.forEach((trace) => {
      const own = axes.at[facts.contenders[whose(trace)]];
      if (!own || !trace.x) { return; }
      trace.x = decoded(trace.x).map((x) => x === null ? x : along(x, own[axes.own], own[wanted]));
      most = Math.max(most, ...own[wanted]);
    });
    figure.layout.xaxis.title = Object.assign({}, figure.layout.xaxis.title, { text: axes.titles[wanted] });
    figure.layout.xaxis.range = [0, 1.02 * most];
    delete figure.layout.xaxis.ticksuffix;
  }
  function onScale(figure, axes, wanted) {
    const axis = figure.layout.yaxis;
    if (!axes || !wanted || !axis || (axis.type || "linear") === wanted) { return; }
    axis.type = wanted;
    delete axis.dtick;
    if (wanted === "linear") {
      axis.range = (axis.range || []).map((each) => Math.pow(10, each));
      if (!axis.range.length) { axis.autorange = true; }
      return;
    }
    const positive = figure.data.flatMap((trace) => trace.mode === "lines" ? decoded(trace.y) || [] : []).filter((y) => y > 0);
    const [low, high] = axis.range || [0, 0];
    if (!positive.length) { axis.type = "linear"; return; }
    axis.range = [Math.log10(low > 0 ? low : Math.min(...positive)), Math.log10(high > 0 ? high : Math.max(...positive))];
    (figure.layout.annotations || []).forEach((each) => {
      if (typeof each.y === "number" && each.yref !== "paper" && each.y > 0) { each.y = Math.log10(each.y); }
    });
  }
  function toLinear(figure, wanted) {  // annotations of a logarithmic axis are in powers of ten
    const axis = figure.layout.yaxis;
    if (wanted === "linear" && axis && axis.type === "log") {
      (figure.layout.annotations || []).forEach((each) => {
        if (typeof each.y === "number" && each.yref !== "paper") { each.y = Math.pow(10, each.y); }
      });
    }
  }

  async function made(place) {
    const text = inTheme(await group(place.dataset.group));
    const found = JSON.parse(text)[place.dataset.figure];
    const figure = found.figure;
    toLinear(figure, found.axes ? by("y-scale").value : "");
    onScale(figure, found.axes, by("y-scale").value);
    onAxis(figure, found.axes, by("x-axis").value);
    figure.layout.template = JSON.parse(inTheme(template));
    figure.layout.paper_bgcolor = figure.layout.plot_bgcolor = "rgba(0,0,0,0)";
    figure.layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: isDark() ? "#6D7A87" : "#8793A0", activecolor: isDark() ? "#E4E9EE" : "#1B2530" };
    if (isDark()) { figure.layout.hoverlabel = Object.assign({}, figure.layout.hoverlabel, { bgcolor: "#1b2229", font: { color: "#e4e9ee" } }); }
    figure.data.forEach((trace) => { if (hidden.has("c" + whose(trace))) { trace.visible = false; } });
    const note = document.querySelector('[data-figure-of="' + place.dataset.figure + '"]');
    if (note) {
      const wanted = by("x-axis").value, lacks = wanted && found.axes && !found.axes.titles[wanted];
      note.hidden = !lacks;
      note.textContent = lacks ? "Against " + found.axes.own + ": the " + wanted + " of this problem are not known." : "";
    }
    return figure;
  }
  async function draw(place) {
    drawn.add(place);
    try {
      const asDark = isDark();
      const [figure, library] = await Promise.all([made(place), plotly()]);
      if (!place.classList.contains("js-plotly-plot")) { place.textContent = ""; }
      await library.react(place, figure.data, figure.layout, facts.config);
      // What is printed at once, before it can be drawn anew, is turned into light; the cells of a heat map keep theirs.
      place.toggleAttribute("data-dark", asDark && figure.data.every((trace) => trace.type !== "heatmap"));
      place.dataset.done = "yes";
    } catch (error) {
      place.textContent = "This figure cannot be drawn: " + error.message;
    }
  }
  const redraw = () => Promise.all(Array.from(drawn, draw));
  all(".figure").forEach((each) => {
    each.textContent = "Not drawn yet. To print all figures, use the page's own button, which draws them first.";
    waiting.observe(each);
  });

  // --- the filter ---
  function apply() {
    all("[data-of]").forEach((each) => { each.toggleAttribute("hidden", hidden.has(each.dataset.of)); });
    redraw();
  }
  function show(boxes, shown) {
    boxes.forEach((box) => {
      box.checked = shown;
      hidden[shown ? "delete" : "add"](box.dataset.show);
    });
    apply();
    const kept = all("[data-show]").filter((box) => box.checked);
    say(kept.filter((box) => box.dataset.show[0] === "c").length + " contenders shown");
  }
  all("[data-show]").forEach((box) => {
    if (!box.checked) { box.checked = true; }  // a browser may remember them from the last visit
    box.addEventListener("change", () => show([box], box.checked));
  });
  all("[data-all], [data-none]").forEach((button) => button.addEventListener("click", () => {
    const kind = button.dataset.all || button.dataset.none;
    show(all("[data-show^='" + kind + "']"), Boolean(button.dataset.all));
  }));

  // --- axes, colours, folds ---
  by("x-axis").value = by("y-scale").value = "";
  by("x-axis").addEventListener("change", redraw);
  by("y-scale").addEventListener("change", redraw);
  const kept = { get: () => { try { return localStorage.getItem("dlkit-theme") || ""; } catch (_) { return ""; } },
    set: (value) => { try { localStorage.setItem("dlkit-theme", value); } catch (_) { /* not from disk, in some */ } } };
  function theme(value) {
    if (value) { root.dataset.theme = value; } else { delete root.dataset.theme; }
    by("theme").value = value;
    redraw();
  }
  theme(kept.get());
  by("theme").addEventListener("change", () => { kept.set(by("theme").value); theme(by("theme").value); });
  system.addEventListener("change", redraw);
  by("unfold").addEventListener("click", () => all("main details").forEach((each) => { each.open = true; }));
  by("fold").addEventListener("click", () => all("main details").forEach((each) => { each.open = false; }));
  function reveal() {  // what a link leads to is unfolded
    const target = location.hash && by(decodeURIComponent(location.hash.slice(1)));
    if (!target) { return; }
    for (let each = target; each; each = each.parentElement) { if (each.tagName === "DETAILS") { each.open = true; } }
    const own = target.querySelector(":scope > details.fold");
    if (own) { own.open = true; }
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  reveal();
  const wide = matchMedia("(min-width: 1000px)");
  const fit = () => { by("side").open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
  by("side").addEventListener("click", (event) => {
    if (!wide.matches && event.target.closest("nav a")) { by("side").open = false; }
  });

  // --- terms are explained where they stand ---
  const popover = by("popover");
  let asked = null;
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.term");
    if (!link || !popover.showPopover || event.ctrlKey || event.metaKey) { return; }
    const meaning = by(link.getAttribute("href").slice(1));
    if (!meaning) { return; }
    event.preventDefault();
    asked = link;
    popover.replaceChildren();
    const title = document.createElement("p"), bold = document.createElement("b");
    bold.textContent = meaning.textContent;
    title.append(bold);
    popover.append(title);
    for (let each = meaning.nextElementSibling; each && each.tagName === "DD"; each = each.nextElementSibling) {
      const text = document.createElement("p");
      text.append(...each.cloneNode(true).childNodes);
      popover.append(text);
    }
    popover.showPopover();
    const at = link.getBoundingClientRect(), size = popover.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, innerWidth - size.width - 8));
    const below = at.bottom + 6, fits = below + size.height < innerHeight;
    popover.style.left = left + "px";
    popover.style.top = (fits ? below : Math.max(8, at.top - size.height - 6)) + "px";
    popover.focus();
  });
  popover.addEventListener("toggle", (event) => {
    if (event.newState === "closed" && asked) { asked.focus({ preventScroll: true }); asked = null; }
  });

  // --- numbers to keep ---
  function rows(data) {
    if (!data.curves) { return data.values[0] ? data.values[0].map((_, row) => data.values.map((column) => column[row])) : []; }
    const bytes = Uint8Array.from(atob(data.values), (each) => each.charCodeAt(0)), values = new DataView(bytes.buffer);
    let place = 0;
    return data.curves.flatMap(([problem, optimizer, seed, metric, at]) => data.steps[at].map((step) => {
      place += 4;
      return [problem, optimizer, seed, step, metric, shortest(values.getFloat32(place - 4, true))];
    }));
  }
  function shortest(value) {  // the fewest digits that tell a number of single precision
    if (!Number.isFinite(value)) { return Number.isNaN(value) ? null : value > 0 ? "inf" : "-inf"; }
    for (let digits = 6; digits < 9; digits++) {
      const text = Number(value.toPrecision(digits));
      if (Math.fround(text) === value) { return text; }
    }
    return Number(value.toPrecision(9));
  }
  function csv(data) {
    const cell = (value) => {
      let text = value === null || value === undefined ? "" : String(value);
      // A text that a spreadsheet would take for a formula gets an apostrophe before it: as `escapes.in_csv` does.
      if (typeof value === "string" && /^(\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])/.test(text)
        && !/^([-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(inf|nan))$/i.test(text)) { text = "'" + text; }
      text = text.replace(/[^\P{C}\r\n\t]/gu, (sign) => "\\u{" + sign.codePointAt(0).toString(16) + "}");
      return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
    };
    return [data.columns, ...rows(data)].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }
  function json(data) {
    const made = rows(data).map((row) => Object.fromEntries(row.map((value, place) => [data.columns[place], value])));
    return JSON.stringify(made, null, 1);
  }
  all("[data-download]").forEach((button) => button.addEventListener("click", async () => {
    const element = all("script.download").find((each) => each.dataset.name === button.dataset.download);
    const data = JSON.parse(await unpacked(element)), ending = button.dataset.as;
    const text = ending === "csv" ? csv(data) : json(data);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: ending === "csv" ? "text/csv" : "application/json" }));
    link.download = facts.name.replace(/[^\w.-]+/g, "-") + "-" + button.dataset.download + "." + ending;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(link.download + " is made");
  }));

  // --- print ---
  let folded = [];
  async function beforePrint() {
    printing = true;
    folded = all("main details.fold:not([open])");
    folded.forEach((each) => { each.open = true; });
    all(".figure").filter((each) => !drawn.has(each) && each.offsetParent !== null).forEach((each) => drawn.add(each));
    await redraw();
  }
  addEventListener("beforeprint", () => { if (!printing) { beforePrint(); } });
  addEventListener("afterprint", () => {
    printing = false;
    folded.forEach((each) => { each.open = false; });
    redraw();
  });
  by("print").addEventListener("click", async () => { await beforePrint(); window.print(); });
})();
