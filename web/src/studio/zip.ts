/** A ZIP archive of a few small files, stored without compression (APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12, 4.3.16). Pure. */

export interface ZipEntry {
  path: string;
  text: string;
}

/** CRC-32 of ISO 3309, as ZIP has it. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

type Field = readonly [bytes: 2 | 4, value: number];

function packed(fields: readonly Field[], ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const head = fields.reduce((sum, [bytes]) => sum + bytes, 0);
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, head));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Names are UTF-8 (bit 11). */
const FLAGS = 0x0800;
const VERSION = 20;
/** 1 January 1980: the files have no time that matters. */
const DATE = 0x0021;

export function zip(entries: readonly ZipEntry[]): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const files: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const { path, text } of entries) {
    const [name, data] = [encoder.encode(path), encoder.encode(text)];
    const common: Field[] = [
      [2, VERSION],
      [2, FLAGS],
      [2, 0],
      [2, 0],
      [2, DATE],
      [4, crc32(data)],
      [4, data.length],
      [4, data.length],
      [2, name.length],
      [2, 0],
    ];
    const file = packed([[4, 0x04034b50], ...common], name, data);
    directory.push(
      packed([[4, 0x02014b50], [2, VERSION], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]], name),
    );
    files.push(file);
    offset += file.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end: Field[] = [
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, entries.length],
    [2, entries.length],
    [4, size],
    [4, offset],
    [2, 0],
  ];
  return packed([], ...files, ...directory, packed(end));
}
