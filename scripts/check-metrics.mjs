// Holds one rule: every metric has a text, and every text a metric.
import { readdirSync, readFileSync } from "node:fs";

const folders = [...readdirSync("crates").map((name) => `crates/${name}`), "ingest", "broadcast", "loadbalancer", "control"];
const sources = folders.flatMap((folder) => {
  const names = readdirSync(`${folder}/src`, { recursive: true }).filter((name) => name.endsWith(".rs"));
  return names.map((name) => readFileSync(`${folder}/src/${name}`, "utf8"));
});
const found = (pattern) => new Set(sources.flatMap((text) => [...text.matchAll(pattern)].map((match) => match[1])));
const used = found(/(?:counter|gauge|histogram)!\(\s*"(\w+)"/g);
const described = found(/[\[ ]\(\s*"(\w+_\w+)",\s*"[A-Z]/g);

const problems = [];
for (const name of used) if (!described.has(name) && !name.startsWith("ops_test_")) problems.push(`${name}: not described`);
for (const name of described) if (!used.has(name)) problems.push(`${name}: described, and not used`);
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
