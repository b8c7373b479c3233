// Checks the rules about dependencies that ARCHITECTURE.md states:
//   1. pure crates know no runtime, clock, socket or disk library;
//   2. each crate imports crates of lower layers only: roles never import one another, nothing imports the binary, and product code
//      imports no test code; test code imports pure crates only; black boxes (see below) import none of our crates;
//   3. every third-party crate comes from the crates registry, has a licence on the list, and is not on the ban list.
// Advisories are not checked here, because their database is not part of the registry: `make audit` does, where it can be reached.
import { execFileSync } from "node:child_process";

const PURE = ["media", "seal", "metadata", "access", "verify", "playlist", "gate", "messages", "cluster", "rtmp", "webhooks"];
// Above the pure crates, from the bottom to the top.
const LAYERS = [["acceptor", "catalogue", "outbound"], ["bus"], ["node"], ["issuers"], ["ingest", "broadcast", "loadbalancer", "control"], ["sealcast", "bench"]];
const TESTS_ONLY = ["testkit"];
// So are these, which run real parts of the layers below the roles.
const HARNESSES = ["granter"];
// They are no product, and may run what tests run.
const TOOLS = ["bench"];
// They test any server from outside, so they share no code with ours.
const BLACK_BOXES = ["source", "conformance"];
const IMPURE = ["tokio", "mio", "socket2", "hyper", "reqwest", "axum", "sqlx", "rustls", "tracing-subscriber", "tempfile"];
// rustls is the only TLS stack. (Pingora brings `ring` along; our code never calls it.)
const BANNED = ["openssl", "openssl-sys", "native-tls"];
const LICENCES = new Set([
  "0BSD", "BlueOak-1.0.0", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CDLA-Permissive-2.0",
  "ISC", "MIT", "MIT-0", "MPL-2.0", "OpenSSL", "Unicode-3.0", "Unlicense", "WTFPL", "Zlib",
]);

const cargo = (...args) => execFileSync("cargo", args, { encoding: "utf8", maxBuffer: 1 << 28 });
const problems = [];

const metadata = JSON.parse(cargo("metadata", "--format-version", "1", "--locked"));
const members = new Set(metadata.workspace_members);
const byId = new Map(metadata.packages.map((p) => [p.id, p]));

/** Whether an SPDX expression has an alternative that uses only licences on the list. */
function allowed(expression) {
  const tokens = expression.replaceAll("/", " OR ").replace(/[()]/g, " $& ").trim().split(/\s+/);
  let at = 0;
  const atom = () => {
    if (tokens[at] === "(") {
      at += 1;
      const inner = either();
      at += 1;
      return inner;
    }
    let name = tokens[at++];
    if (tokens[at] === "WITH") name += ` WITH ${tokens[(at += 2) - 1]}`;
    return LICENCES.has(name);
  };
  const both = () => {
    let ok = atom();
    while (tokens[at] === "AND") { at += 1; ok = atom() && ok; }
    return ok;
  };
  function either() {
    let ok = both();
    while (tokens[at] === "OR") { at += 1; ok = both() || ok; }
    return ok;
  }
  return either();
}

for (const p of metadata.packages) {
  if (members.has(p.id)) continue;
  const name = `${p.name} ${p.version}`;
  if (!p.source?.startsWith("registry+")) problems.push(`${name}: not from the registry (${p.source ?? "a path"})`);
  if (p.license ? !allowed(p.license) : !p.license_file) problems.push(`${name}: licence ${p.license ?? "not stated"} is not on the list`);
  if (BANNED.includes(p.name)) problems.push(`${name}: banned, see scripts/check-dependencies.mjs`);
}

for (const node of metadata.resolve.nodes.filter((n) => members.has(n.id))) {
  const from = byId.get(node.id).name;
  for (const dep of node.deps.filter((d) => members.has(d.pkg) && d.dep_kinds.some((k) => k.kind === null))) {
    const to = byId.get(dep.pkg).name;
    const [above, below] = [from, to].map((name) => LAYERS.findIndex((layer) => layer.includes(name)));
    if (above >= 0 && below >= above) problems.push(`${from} imports ${to}, which is no lower layer (LAYERS in scripts/check-dependencies.mjs)`);
    if ([...TESTS_ONLY, ...HARNESSES].includes(to) && !TOOLS.includes(from)) problems.push(`${from} imports ${to}, which is for tests: make it a dev-dependency`);
    if (PURE.includes(from) && !PURE.includes(to)) problems.push(`${from} imports ${to}: pure crates import pure crates only`);
    if (TESTS_ONLY.includes(from) && !PURE.includes(to)) problems.push(`${from} imports ${to}: test code imports pure crates only, so that the tests of every crate can use it`);
    if (BLACK_BOXES.includes(from)) problems.push(`${from} imports ${to}: it depends on nothing of ours`);
  }
}

for (const crate of PURE) {
  const tree = cargo("tree", "--package", crate, "--edges", "normal", "--prefix", "none", "--format", "{p}", "--locked");
  const names = new Set(tree.split("\n").map((line) => line.split(" ")[0]));
  for (const bad of IMPURE.filter((n) => names.has(n))) problems.push(`${crate} depends on ${bad}: pure crates know no runtime, socket or disk`);
}

if (problems.length > 0) {
  console.error(problems.map((p) => `dependencies: ${p}`).join("\n"));
  process.exit(1);
}
console.log(`dependencies: ${metadata.packages.length} packages keep the rules`);
