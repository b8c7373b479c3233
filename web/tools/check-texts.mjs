/**
 * Finds sentences of the pages outside of `src/text`, so that another language is one more file there.
 *
 *   node tools/check-texts.mjs
 *
 * A sentence is what people read: the text of an element, an attribute that names something to them, and any other text of several words that
 * begins with a capital letter or ends as sentences do. Texts for other programs (paths, classes, keys, errors that are thrown) are none.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseAst } from 'vite';

const SOURCES = fileURLToPath(new URL('../src/', import.meta.url));
/** The texts themselves, what the generator writes, commands, and the player, which is built without the pages. */
const EXEMPT = /^(?:(?:text|api\/generated|player)\/|studio\/publish\.ts)/;
/** The same in every language. */
const NAMES = new Set(['Sealcast', 'OBS', 'Opus', 'ffmpeg']);
/** Elements whose texts are typed as they are. */
const TYPED = new Set(['code', 'kbd', 'pre']);
/** Attributes that people read or hear. */
const READ =
  /^(?:aria-label|aria-roledescription|aria-valuetext|title|alt|placeholder|label|legend|hint|note|about|what|failed|copyLabel|prefix)$/;
/** Attributes that they do not. */
const UNREAD =
  /^(?:class|d|id|for|href|src|type|key|role|name|kind|icon|viewBox|rel|target|allow|points|path|aria-(?:controls|labelledby|describedby))$/;
/** Calls whose texts are selectors, keys and the like. */
const PROGRAMS =
  /^(?:querySelector|querySelectorAll|closest|matches|getItem|setItem|removeItem|matchMedia|addEventListener|startsWith|endsWith|includes|split|join|replace|replaceAll|isTypeSupported|canPlayType|mark|measure|setAttribute|getAttribute|log|warn)$/;
const KEYS = new Set(['Escape', 'Enter', 'Tab', 'Home', 'End', 'Control', 'Shift', 'Accept', 'Content-Type']);

const hasWord = (text) => /\p{Letter}{2}/u.test(text);
const isSentence = (text) =>
  /\p{Letter}[\p{Letter}’,:]*\s+[\p{Letter}“(]/u.test(text) && /^\s*[\p{Lu}“]|[.!?…]\s*$/u.test(text);
const isName = (text) => /^\p{Lu}\p{Ll}+…?$/u.test(text) && !KEYS.has(text);

const nameOf = (node) =>
  node?.type === 'JSXIdentifier' || node?.type === 'Identifier'
    ? node.name
    : node?.type === 'Literal'
      ? String(node.value)
      : node?.type === 'MemberExpression'
        ? nameOf(node.property)
        : node?.type === 'JSXNamespacedName'
          ? `${node.namespace.name}:${node.name.name}`
          : '';

const isLiteral = ({ type }) => type === 'Literal' || type === 'TemplateLiteral';
const isThrown = (node) =>
  node.type === 'NewExpression' &&
  /^(?:(?:Type|Range)?Error|Malformed|NotFound|Refused)$/.test(nameOf(node.callee));
/** Types, and what other modules are called. */
const isNoCode = ({ type }) =>
  /^TS(?!AsExpression|SatisfiesExpression|NonNullExpression)|^Import|^ExportAll/.test(type);

/** What is looked at in a node of a type, besides all that is in it. `isRead`: people read what stands there. */
const RULES = {
  ThrowStatement: () => undefined,
  JSXElement: (node, look) => {
    if (!TYPED.has(nameOf(node.openingElement.name))) look.into(node, false);
  },
  CallExpression: (node, look, isRead) => {
    const name = nameOf(node.callee);
    if (name === 'h' && TYPED.has(node.arguments[0]?.value)) return;
    if (!PROGRAMS.test(name)) look.into(node, isRead);
    else look.at([node.callee, ...node.arguments.filter((argument) => !isLiteral(argument))], isRead);
  },
  JSXText: (node, look) => {
    if (hasWord(node.value)) look.note(node, node.value, 'child');
  },
  JSXAttribute: ({ name, value }, look, isRead) => {
    const [reads, unread] = [READ.test(nameOf(name)), UNREAD.test(nameOf(name))];
    if (value?.type === 'Literal') {
      if (reads ? hasWord(value.value) : !unread && isSentence(value.value))
        look.note(value, value.value, 'attribute');
    } else if (value && !unread) look.at(value, reads || isRead);
  },
  Property: ({ key, value, computed }, look, isRead) => {
    if (computed) look.at(key, isRead);
    else if (key.type === 'Literal' && isSentence(String(key.value))) look.note(key, key.value, 'key');
    if (!UNREAD.test(nameOf(key))) look.at(value, READ.test(nameOf(key)) || isRead);
  },
  BinaryExpression: (node, look, isRead) => {
    const sides = [node.left, node.right];
    const isComparison = /^[=!]==?$/.test(node.operator);
    look.at(isComparison ? sides.filter((side) => side.type !== 'Literal') : sides, isRead);
  },
  SwitchCase: (node, look, isRead) => look.at(node.consequent, isRead),
  Literal: (node, look, isRead) => {
    const { value } = node;
    if (typeof value !== 'string') return;
    const isShown = isRead && /^[^a-z]*\p{Lu}|\s/u.test(value) && hasWord(value);
    if (isShown || isSentence(value) || isName(value)) look.note(node, value, 'literal');
  },
  TemplateLiteral: (node, look, isRead) => {
    const parts = node.quasis.map(({ value }) => value.cooked);
    const [text, words] = [parts.join(' x '), parts.join(' ')];
    const isPhrase = / \p{Letter}{2,}(?: |$)/u.test(words);
    if (parts.some(hasWord) && (isRead || isPhrase || isSentence(text)))
      look.note(node, parts.join('§'), 'template');
    look.at(node.expressions, isRead);
  },
};

/** Sentences of a source: where they stand, and what they are. Pure. */
export function sentences(code, file) {
  const found = [];
  const look = {
    note: (node, text, kind) => {
      if (!NAMES.has(text.trim())) found.push({ start: node.start, end: node.end, text, kind });
    },
    at: (node, isRead) => {
      if (Array.isArray(node)) for (const one of node) look.at(one, isRead);
      else if (typeof node?.type === 'string' && !isNoCode(node) && !isThrown(node)) {
        const rule = RULES[node.type];
        if (rule) rule(node, look, isRead);
        else look.into(node, isRead);
      }
    },
    into: (node, isRead) => {
      for (const value of Object.values(node)) if (value && typeof value === 'object') look.at(value, isRead);
    },
  };
  look.at(parseAst(code, { lang: file.endsWith('x') ? 'tsx' : 'ts' }, file).body, false);
  return found;
}

/** The sources that sentences are looked for in. */
export const sources = () =>
  readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
    .filter((file) => /(?<!\.d)\.tsx?$/.test(file) && !EXEMPT.test(file))
    .sort();

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  let count = 0;
  for (const file of sources()) {
    const code = readFileSync(SOURCES + file, 'utf8');
    for (const { start, text } of sentences(code, file)) {
      count += 1;
      const line = code.slice(0, start).split('\n').length;
      process.stderr.write(
        `src/${file}:${line}: a sentence outside of src/text: ${text.trim().replace(/\s+/g, ' ').slice(0, 80)}\n`,
      );
    }
  }
  if (count > 0) {
    process.stderr.write(`texts: ${count} sentences stand outside of src/text\n`);
    process.exit(1);
  }
}
