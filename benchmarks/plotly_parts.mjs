// Finds which bytes of plotly.js the report's figures need, and writes them to dlkit/bench/report/plotly_parts.json.
//
// plotly.js is one file of modules that call each other. Starting from the kinds of traces that the figures have, this
// follows every name to the statement that defines it, by the scopes of a parser, so nothing that is kept can miss a name.
// To be run again when the version in constraints.txt changes, with a browser's look at a report afterwards:
//
//   npm install --prefix /tmp/parser acorn eslint-scope
//   NODE_PATH=/tmp/parser/node_modules node benchmarks/plotly_parts.mjs path/to/plotly/package_data/plotly.min.js scatter heatmap contour

import crypto from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const need = createRequire(path.join(process.env.NODE_PATH, "from.js"));
const acorn = need("acorn"), scopes = need("eslint-scope");
const [file, ...kinds] = process.argv.slice(2);
const bytes = fs.readFileSync(file), text = bytes.toString("latin1"); // so that places are those of bytes

const everywhere = (node, visit) => {
  if (!node || typeof node.type !== "string" || visit(node)) { return; }
  for (const value of Object.values(node)) { [value].flat().forEach((each) => everywhere(each, visit)); }
};
const find = (root, matches) => { let found; everywhere(root, (node) => { if (!found && matches(node)) { found = node; } return found; }); return found; };

const program = acorn.parse(text, { ecmaVersion: "latest", ranges: true });
const whole = find(program, (node) => node.type === "VariableDeclarator" && node.id.name === "Plotly").init.callee;
const statements = whole.body.body, starts = statements.map((node) => node.start);
const top = scopes.analyze(program, { ecmaVersion: 2022, sourceType: "script" }).acquire(whole);
const place = (position) => starts.findLastIndex((start) => start <= position);
const source = (node) => text.slice(node.start, node.end);

const uses = statements.map(() => new Set());
for (const variable of top.variables.filter((each) => each.defs.length)) {
  const owners = new Set(variable.defs.map((each) => place(each.name.range[0])));
  for (const reference of variable.references) {
    const from = place(reference.identifier.range[0]);
    for (const owner of owners) {
      uses[from].add(owner);
      if (reference.isWrite()) { uses[owner].add(from); } // what gives a name its value belongs to the name
    }
  }
}
const owner = (name) => place(top.set.get(name).defs[0].name.range[0]);
statements.forEach((node, index) => { // such as the exports of a module, which belong to the name that they fill
  if (node.type === "ExpressionStatement") { uses[owner(node.expression.arguments[0].name)].add(index); }
});

const end = statements.findIndex((node) => node.type === "ReturnStatement"), [main] = uses[end];
const isList = (node) => node.type === "CallExpression" && node.callee.property?.name === "register" && node.arguments[0]?.type === "ArrayExpression";
const list = find(statements[main], isList).arguments[0];
const kind = (entry) => {
  for (let name = entry.callee.name; name;) {
    const module = source(statements[owner(name)]), known = module.match(/moduleType:"trace",name:"(\w+)"/);
    if (known) { return known[1]; }
    name = module.match(/\.exports=([\w$]+)\(\)/)?.[1];
  }
};
const [kept, dropped] = [true, false].map((is) => list.elements.filter((each) => kinds.includes(kind(each)) === is));
const missing = kinds.filter((each) => each !== "scatter" && !kept.some((entry) => kind(entry) === each)); // scatter is always there
if (missing.length) { throw new Error(`plotly.js has no ${missing}`); }

const needed = new Set(), waiting = [end];
for (const each of dropped) { uses[main].delete(owner(each.callee.name)); }
while (waiting.length) {
  const index = waiting.pop();
  if (!needed.has(index)) { needed.add(index); waiting.push(...uses[index]); }
}
const cuts = statements.filter((_, index) => !needed.has(index)).map((node) => [node.start, node.end]);
for (const each of dropped) { cuts.push([each.start, each.end + (text[each.end] === "," ? 1 : 0)]); }
const ranges = [];
for (const [start, stop] of [...cuts.sort((a, b) => a[0] - b[0]), [bytes.length, bytes.length]]) {
  const from = ranges.length ? ranges.at(-1)[1] : 0;
  if (ranges.length && from === start) { ranges.at(-1)[1] = stop; } else { ranges.push([start, stop]); }
}
ranges.pop();
const facts = { version: text.match(/plotly\.js v(\S+)/)[1], sha256: crypto.createHash("sha256").update(bytes).digest("hex"), traces: kinds, left_out: ranges };
fs.writeFileSync(new URL("../dlkit/bench/report/plotly_parts.json", import.meta.url), `${JSON.stringify(facts)}\n`);
console.log(`${ranges.length} stretches left out; ${bytes.length - ranges.reduce((sum, [a, b]) => sum + b - a, 0)} of ${bytes.length} bytes stay`);
