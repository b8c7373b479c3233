/**
 * Makes `src/api/generated/api.ts` from `control/openapi.json`: a type and a bounded reader for each schema, and a value for each operation.
 *
 *   node tools/generate-api.mjs           says whether the file is what the document says
 *   node tools/generate-api.mjs --write   writes it
 *
 * `answers.json` says what pages use ahead of the document: `ahead` has operations of the contract that a control of this version may not
 * have yet, `answers` and `schemas` what they answer, and `members` members of requests. What the document says itself wins.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const PREFIX = '/api/v1';
const DOCUMENT = new URL('../../control/openapi.json', import.meta.url);
const ANSWERS = new URL('./answers.json', import.meta.url);
const GENERATED = new URL('../src/api/generated/api.ts', import.meta.url);
/** What the names of schemas of pages begin with. */
const ROWS = 'Rows_';
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** Without it, a page would carry the readers of all others. */
const PURE = '/* @__PURE__ */ ';
const nameOf = (reference) => reference.split('/').at(-1);
const quoted = (name) => (/^[a-z_$][\w$]*$/i.test(name) ? name : JSON.stringify(name));

/** Type and reader of a schema. A schema that this does not know is an error, so that nothing is read that nobody has thought of. */
function shape(schema, where) {
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return maybeNull(schema.nullable, { type: name, read: `read${name}` });
  }
  const alternatives = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (alternatives) {
    const others = alternatives.filter((one) => one.type !== 'null');
    if (others.length !== 1) throw new Error(`${where}: alternatives of more than one schema`);
    return maybeNull(others.length < alternatives.length, shape(others[0], where));
  }
  const types = [schema.type ?? 'any'].flat();
  const [type] = types.filter((one) => one !== 'null');
  return maybeNull(types.includes('null') || schema.nullable, plain(type, schema, where));
}

function maybeNull(is, { type, read }) {
  return is ? { type: `${type} | null`, read: `${PURE}nullable(${read})` } : { type, read };
}

function plain(type, schema, where) {
  switch (type) {
    case 'string': {
      const known = schema.enum ?? schema['x-extensible-enum'];
      // Enums in answers may grow, so any text is one.
      const union = known && `${known.map((one) => `'${one}'`).join(' | ')} | (string & {})`;
      return { type: union ? `(${union})` : 'string', read: `${PURE}text(${schema.maxLength ?? ''})` };
    }
    case 'integer':
      return { type: 'number', read: 'integer' };
    case 'number':
      return { type: 'number', read: 'float' };
    case 'boolean':
      return { type: 'boolean', read: 'flag' };
    case 'array': {
      const item = shape(schema.items, where);
      const bound = schema.maxItems ? `, ${schema.maxItems}` : '';
      return { type: `Array<${item.type}>`, read: `${PURE}list(${item.read}${bound})` };
    }
    case 'any':
      return { type: 'Json', read: 'anything' };
    case 'object':
      if (!schema.properties) return { type: 'Json', read: 'anything' };
      throw new Error(`${where}: give the object a name of its own`);
    default:
      throw new Error(`${where}: unknown type ${type}`);
  }
}

const comment = (text, indent = '') =>
  text ? `${indent}/** ${text.replaceAll('\n', ' ').replaceAll('*/', '')} */\n` : '';

/** The type of a schema, and its reader where answers have it. */
function declaration(name, schema, isAnswer) {
  if (schema.type !== 'object' || !schema.properties) {
    const { type, read } = shape(schema, name);
    const reader = isAnswer ? `export const read${name}: Read<${name}> = ${read};\n` : '';
    return `${comment(schema.description)}export type ${name} = ${type};\n${reader}`;
  }
  const required = new Set(schema.required ?? []);
  const members = Object.entries(schema.properties).map(([member, inner]) => ({
    member: quoted(member),
    doc: comment(inner.description, '  '),
    isRequired: required.has(member),
    ...shape(inner, `${name}.${member}`),
  }));
  const fields = members.map(
    ({ member, doc, isRequired, type }) => `${doc}  ${member}${isRequired ? '' : '?'}: ${type};\n`,
  );
  const type = `${comment(schema.description)}export interface ${name} {\n${fields.join('')}}\n`;
  if (!isAnswer) return type;
  const readers = (wanted) =>
    members
      .filter(({ isRequired }) => isRequired === wanted)
      .map(({ member, read }) => `    ${member}: ${read},\n`)
      .join('');
  return `${type}export const read${name}: Read<${name}> = ${PURE}object(\n  {\n${readers(true)}  },\n  {\n${readers(false)}  },\n);\n`;
}

/** Names of schemas, each after those that it refers to. */
function inOrder(schemas, first) {
  const done = new Set();
  const visit = (name, trail) => {
    if (done.has(name)) return;
    if (trail.includes(name)) throw new Error(`${name} refers to itself`);
    if (!schemas[name])
      throw new Error(`${trail.at(-1) ?? 'an operation'} refers to ${name}, which is not there`);
    for (const [, reference] of JSON.stringify(schemas[name]).matchAll(/"\$ref":"([^"]+)"/g)) {
      visit(nameOf(reference), [...trail, name]);
    }
    done.add(name);
  };
  for (const name of first) visit(name, []);
  return [...done];
}

/** `get_api_keys_key` → `getApiKeysKey`. */
const camel = (id) => id.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

/** What an operation answers: the name of a schema, `[Name]` for a page of them, null for nothing. */
function answerOf(operation, key, extra) {
  const done = Object.entries(operation.responses).find(([status]) => /^2/.test(status))?.[1];
  const schema = Object.values(done?.content ?? {})[0]?.schema;
  if (schema?.$ref) {
    const name = nameOf(schema.$ref);
    // A page of rows has the same form whatever the rows are.
    return name.startsWith(ROWS) ? `[${name.slice(ROWS.length)}]` : name;
  }
  return extra[key] ?? null;
}

function operationText(method, path, operation, answer) {
  const inPath = (operation.parameters ?? []).filter((one) => one.in === 'path').map((one) => one.name);
  const inQuery = (operation.parameters ?? []).filter((one) => one.in === 'query');
  const names =
    inPath.length === 0
      ? 'Record<never, never>'
      : `{ ${inPath.map((name) => `${quoted(name)}: string`).join('; ')} }`;
  const query = inQuery.map(
    ({ name, schema }) => `${quoted(name)}?: ${shape(schema ?? {}, name).type.replace(' | null', '')}`,
  );
  const body = Object.values(operation.requestBody?.content ?? {})[0]?.schema;
  const isPage = answer?.startsWith('[');
  const item = isPage ? answer.slice(1, -1) : answer;
  const type = item === null ? 'null' : isPage ? `Page<${item}>` : item;
  const read = item === null ? 'nothing' : isPage ? `${PURE}readPage(read${item})` : `read${item}`;
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => `\${encodeURIComponent(names.${name})}`);
  const types = `${names}, ${query.length === 0 ? 'Record<never, never>' : `{ ${query.join('; ')} }`}, ${body ? shape(body, path).type : 'undefined'}, ${type}`;
  const pathText = inPath.length === 0 ? `() => '${path}'` : `(names) => \`${filled}\``;
  const scope = operation['x-scope'] ? `'${operation['x-scope']}'` : 'null';
  return (
    `${comment(operation.summary)}export const ${camel(operation.operationId)}: Operation<${types}> = {\n` +
    `  method: '${method.toUpperCase()}',\n  path: ${pathText},\n  read: ${read},\n  scope: ${scope},\n};\n`
  );
}

/** The client of a document. Pure. */
export function generate(document, extra) {
  const own = document.components?.schemas ?? {};
  const schemas = { ...extra.schemas, ...own };
  for (const [name, members] of Object.entries(extra.members ?? {})) {
    if (schemas[name])
      schemas[name] = { ...schemas[name], properties: { ...members, ...schemas[name].properties } };
  }
  const operations = [];
  const paths = { ...document.paths };
  for (const [path, item] of Object.entries(extra.ahead ?? {})) paths[path] = { ...item, ...paths[path] };
  for (const [path, item] of Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1))) {
    for (const method of METHODS.filter((one) => item[one])) {
      const key = `${method.toUpperCase()} ${path}`;
      operations.push({
        method,
        path,
        operation: item[method],
        key,
        answer: answerOf(item[method], key, extra.answers),
      });
    }
  }
  const stray = Object.keys(extra.answers).filter((key) => !operations.some((one) => one.key === key));
  if (stray.length > 0)
    throw new Error(`answers.json has operations that the document does not have: ${stray.join(', ')}`);
  const answered = new Set(
    inOrder(
      schemas,
      operations.flatMap(({ answer }) => (answer ? [answer.replace(/[[\]]/g, '')] : [])),
    ),
  );
  const requested = operations.flatMap(({ operation }) => {
    const schema = Object.values(operation.requestBody?.content ?? {})[0]?.schema;
    return schema?.$ref ? [nameOf(schema.$ref)] : [];
  });
  const all = new Set([...answered, ...inOrder(schemas, requested)]);
  const parts = [
    '// Made by tools/generate-api.mjs from control/openapi.json: `npm run generate`. Not to be edited.\n\n',
    "import { anything, flag, float, integer, type Json, list, nothing, nullable, object, type Operation, type Read, text } from '../read';\n\n",
    '/** A page of a list, and where the next one begins. */\nexport interface Page<T> {\n  items: T[];\n  next_cursor: string | null;\n}\n',
    'const readPage = <T>(read: Read<T>): Read<Page<T>> => object({ items: list(read), next_cursor: nullable(text()) }, {});\n\n',
    ...[...all].map((name) => `${declaration(name, schemas[name], answered.has(name))}\n`),
    ...operations
      .filter(({ path }) => path.startsWith(PREFIX))
      .map(({ method, path, operation, answer }) => `${operationText(method, path, operation, answer)}\n`),
  ];
  const made = parts.join('');
  // A name that no declaration uses would be an error of the compiler.
  return made.replace(/^import \{ (.*) \} from/m, (_, names) => {
    const rest = made.slice(made.indexOf('\n\n', made.indexOf('import')));
    const used = names
      .split(', ')
      .filter((name) => new RegExp(`\\b${name.replace('type ', '')}\\b`).test(rest));
    return `import { ${used.join(', ')} } from`;
  });
}

function main() {
  const read = (url) => JSON.parse(readFileSync(url, 'utf8'));
  const made = generate(read(DOCUMENT), read(ANSWERS));
  if (process.argv.includes('--write')) {
    writeFileSync(GENERATED, made);
    return;
  }
  let there = '';
  try {
    there = readFileSync(GENERATED, 'utf8');
  } catch {
    // A file that is not there is stale, too.
  }
  if (there !== made) {
    process.stderr.write(
      'src/api/generated/api.ts is not what control/openapi.json says: npm --prefix web run generate\n',
    );
    process.exit(1);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) main();
