// Checks that the modules of a crate do not depend on one another in circles. A module and the modules inside it count as one where they
// meet another module: a circle runs between siblings.
import { readdirSync, readFileSync, statSync } from "node:fs";

const crates = [...readdirSync("crates").map((name) => `crates/${name}`), "ingest", "broadcast", "loadbalancer", "control", "source", "sealcast", "conformance", "bench"];

/** All Rust files of a folder, as paths from it. */
const files = (folder) => readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".rs") && statSync(`${folder}/${name}`).isFile());

/** The module path of a file: `gate/store.rs` is `["gate", "store"]`. */
const moduleOf = (file) => file.replace(/\.rs$/, "").replace(/(^|\/)(lib|main|mod)$/, "").split("/").filter(Boolean);

/** Source without comments, strings and inline test modules. */
const code = (text) =>
  text
    .replace(/\/\/.*$/gm, "")
    .replace(/"(?:[^"\\]|\\.)*"/g, '""')
    .replace(/#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))? )?mod \w+ \{[\s\S]*?\n\}/g, "");

/** Expands `a::{b, c::{d}}` to paths. */
function paths(tree) {
  const open = tree.indexOf("{");
  if (open < 0) return [tree.trim()];
  const head = tree.slice(0, open);
  const inner = tree.slice(open + 1, tree.lastIndexOf("}"));
  const parts = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at <= inner.length; at += 1) {
    const char = inner[at];
    if (char === "{") depth += 1;
    if (char === "}") depth -= 1;
    if ((char === "," && depth === 0) || at === inner.length) {
      parts.push(inner.slice(from, at));
      from = at + 1;
    }
  }
  return parts.filter((part) => part.trim()).flatMap((part) => paths(head.trim() + part.trim()));
}

const problems = [];
for (const crate of crates) {
  const folder = `${crate}/src`;
  const modules = new Map(files(folder).filter((file) => !/(^|\/)tests?(\/|\.rs)/.test(file)).map((file) => [moduleOf(file).join("::"), `${folder}/${file}`]));
  /** The module that a path leads into, from the module `at`. */
  const target = (path, at) => {
    let names = path.split("::").map((name) => name.trim().replace(/ as .*/, ""));
    let base;
    if (names[0] === "crate") base = [];
    else if (names[0] === "self") base = at;
    else if (names[0] === "super") base = at.slice(0, -1);
    else if (modules.has([...at, names[0]].join("::"))) [base, names] = [at, ["self", ...names]];
    else return null;
    names = names.slice(1);
    while (names[0] === "super") [base, names] = [base.slice(0, -1), names.slice(1)];
    let best = base;
    for (let count = 1; count <= names.length; count += 1) {
      const candidate = [...base, ...names.slice(0, count)];
      if (modules.has(candidate.join("::"))) best = candidate;
    }
    return best;
  };
  /** Edges between siblings: from a module to another of the same parent, with where it is said. */
  const edges = new Map();
  for (const [name, file] of modules) {
    const at = name === "" ? [] : name.split("::");
    const text = code(readFileSync(file, "utf8"));
    const uses = [...text.matchAll(/\buse ((?:crate|super|self|\w+)(?:::[^;]+)?);/g)].flatMap(([, tree]) => paths(tree.replace(/\s+/g, " ")));
    const inline = [...text.matchAll(/\b((?:crate|super)(?:::\w+)+)/g)].map(([, path]) => path);
    for (const path of [...uses, ...inline]) {
      const to = target(path, at);
      if (to === null) continue;
      let common = 0;
      while (common < at.length && common < to.length && at[common] === to[common]) common += 1;
      if (common === at.length || common === to.length) continue;
      const [from, into] = [at, to].map((names) => names.slice(0, common + 1).join("::"));
      if (!edges.has(from)) edges.set(from, new Map());
      if (!edges.get(from).has(into)) edges.get(from).set(into, `${file}: ${path}`);
    }
  }
  // Strongly connected components (Tarjan).
  const [index, low, stack, onStack] = [new Map(), new Map(), [], new Set()];
  const visit = (node) => {
    index.set(node, index.size);
    low.set(node, index.get(node));
    stack.push(node);
    onStack.add(node);
    for (const next of edges.get(node)?.keys() ?? []) {
      if (!index.has(next)) {
        visit(next);
        low.set(node, Math.min(low.get(node), low.get(next)));
      } else if (onStack.has(next)) low.set(node, Math.min(low.get(node), index.get(next)));
    }
    if (low.get(node) !== index.get(node)) return;
    const circle = [];
    do circle.push(stack.pop());
    while (circle.at(-1) !== node && onStack.delete(circle.at(-1)));
    onStack.delete(node);
    if (circle.length < 2) return;
    const said = circle.flatMap((from) => [...(edges.get(from) ?? [])].filter(([into]) => circle.includes(into)).map(([into, where]) => `    ${from} -> ${into}  (${where})`));
    problems.push(`${crate}: ${circle.length} modules in a circle\n${said.join("\n")}`);
  };
  for (const node of edges.keys()) if (!index.has(node)) visit(node);
}

if (problems.length > 0) {
  console.error(problems.map((problem) => `circles: ${problem}`).join("\n"));
  process.exit(1);
}
console.log("circles: none between the modules of a crate");
