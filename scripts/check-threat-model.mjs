// Checks that every test that docs/design/threat-model.md names exists, and is a test.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

const files = execFileSync("git", ["ls-files", "*.rs"], { encoding: "utf8" }).trim().split("\n");
// An attribute that makes a test, further attributes and comments, and the function.
const test = /#\[(?:\w+::)?test\b[^\n]*\]\s*(?:(?:#\[[^\n]*\]|\/\/[^\n]*)\s*)*(?:async )?fn (\w+)/g;
// The names of tests that a macro makes for several kinds of a thing stand alone on their lines.
const listed = /^ +(\w+),?$/gm;
const functions = new Set();
for (const file of files) {
  const text = readFileSync(file, "utf8");
  for (const [, name] of [...text.matchAll(test), ...text.matchAll(listed)]) functions.add(name);
}

const page = "docs/design/threat-model.md";
// Tests stand in the second column of the tables.
const rows = readFileSync(page, "utf8").split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| promise"));
const named = rows.flatMap((row) => [...row.split("|")[2].matchAll(/`(\w+)`/g)].map(([, name]) => name));
const missing = named.filter((name) => !functions.has(name));
if (missing.length > 0 || named.length === 0) {
  console.error(`${page} names tests that do not exist: ${missing.join(", ") || "none at all"}`);
  process.exit(1);
}
console.log(`threat model: ${named.length} tests are named, and exist`);
