// Holds two rules: every metric has a text and every text a metric, and docs/reference/metrics.md lists them all. With --write it writes that page.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const PAGE = "docs/reference/metrics.md";
const folders = [...readdirSync("crates").map((name) => `crates/${name}`), "ingest", "broadcast", "loadbalancer", "control"];
/** Each name, with the kind it is used as and the folder. */
const used = new Map();
/** Each name, with its text. */
const described = new Map();
for (const folder of folders) {
  const names = readdirSync(`${folder}/src`, { recursive: true }).filter((name) => name.endsWith(".rs"));
  for (const name of names) {
    const source = readFileSync(`${folder}/src/${name}`, "utf8");
    for (const [, kind, metric] of source.matchAll(/(counter|gauge|histogram)!\(\s*"(\w+)"/g)) used.set(metric, { kind, folder });
    for (const [, metric, text] of source.matchAll(/[\[ ]\(\s*"(\w+_\w+)",\s*"([A-Z](?:[^"\\]|\\.)*)"/g)) described.set(metric, text);
  }
}

const problems = [];
for (const name of used.keys()) if (!described.has(name) && !name.startsWith("ops_test_")) problems.push(`${name}: not described`);
for (const name of described.keys()) if (!used.has(name)) problems.push(`${name}: described, and not used`);

const lines = [
  "# Metrics",
  "",
  "Every process serves its metrics at `/metrics` of `ops_listen`, in the text format of Prometheus. A metric appears once it has a value.",
  "",
  "This page is generated from the code by `make reference`.",
];
for (const folder of folders) {
  const rows = [...described].filter(([name]) => used.get(name)?.folder === folder).sort();
  if (rows.length === 0) continue;
  const title = folder === "crates/node" ? "All nodes" : `Role \`${folder}\``;
  lines.push("", `## ${title}`, "", "| metric | kind | meaning |", "|---|---|---|");
  for (const [name, text] of rows) lines.push(`| \`${name}\` | ${used.get(name).kind} | ${text.replaceAll("|", "\\|")} |`);
}
const page = `${lines.join("\n")}\n`;
if (process.argv.includes("--write")) writeFileSync(PAGE, page);
else if (readFileSync(PAGE, "utf8") !== page) problems.push(`${PAGE} is not what the code says: run \`make reference\``);

for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
