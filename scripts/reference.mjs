// Checks two rules: every metric has a description and every description a metric, and docs/reference lists all metrics and URLs. With
// --write it writes those pages. configuration.md and command-line.md come from `sealcast/src/reference.rs`.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const GENERATED = "This page is generated from the code by `make reference`.";
const cell = (text) => text.replaceAll("|", "\\|");
const folders = [...readdirSync("crates").map((name) => `crates/${name}`), "ingest", "broadcast", "loadbalancer", "control"];
/** From each metric in use to its kind and folder. */
const used = new Map();
/** From each described metric to its description. */
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
  GENERATED,
];
for (const folder of folders) {
  const rows = [...described].filter(([name]) => used.get(name)?.folder === folder).sort();
  if (rows.length === 0) continue;
  const titles = { "crates/node": "All nodes", "crates/bus": "The bus, and the embedded broker" };
  const title = titles[folder] ?? `Role \`${folder}\``;
  lines.push("", `## ${title}`, "", "| metric | kind | meaning |", "|---|---|---|");
  for (const [name, text] of rows) lines.push(`| \`${name}\` | ${used.get(name).kind} | ${cell(text)} |`);
}

const { paths } = JSON.parse(readFileSync("broadcast/src/viewers/openapi.json", "utf8"));
const urls = [
  "# HTTP",
  "",
  "Every broadcast node and every load balancer serves these URLs over HTTPS. `/api/v1/openapi.json` has the schemas.",
  "Below `/t/{token}`, the viewer token stands before `/live/…`, `/api/v1/streams/{stream}` and `/api/v1/trust/{stream}`; a token that is",
  "refused is 403 with a problem (RFC 9457), and at `index.m3u8` a token as `?token=` or bearer leads there with 307.",
  "The ops listener serves `/healthz`, `/readyz`, `/metrics` and `/status` besides.",
  "",
  GENERATED,
  "",
  "| URL | answers with | parameters | statuses |",
  "|---|---|---|---|",
];
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, { summary, description, parameters = [], responses }] of Object.entries(methods)) {
    const asked = parameters.filter((parameter) => parameter.in !== "path").map(({ name }) => `\`${name}\``);
    const text = cell([summary, description].filter(Boolean).map((part) => part.replace(/\.?$/, ".")).join(" "));
    const url = `${method === "get" ? "" : `${method.toUpperCase()} `}${path}`;
    urls.push(`| \`${url}\` | ${text} | ${asked.join(", ")} | ${Object.keys(responses).join(", ")} |`);
  }
}

for (const [name, content] of [["metrics.md", lines], ["http.md", urls]]) {
  const page = `docs/reference/${name}`;
  const text = `${content.join("\n")}\n`;
  if (process.argv.includes("--write")) writeFileSync(page, text);
  else if (readFileSync(page, "utf8") !== text) problems.push(`${page} is not what the code says: run \`make reference\``);
}

for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
