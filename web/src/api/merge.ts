/** Two people change one row: which fields go together, and which have to be decided. Pure. */

export interface Merged<T> {
  /** Mine where only I changed a field, theirs where they did. */
  value: T;
  /** Fields that both changed, to different values. */
  conflicts: Array<keyof T & string>;
}

/** Merges two changes of `base`. A conflict keeps mine until a person decides. */
export function merge<T extends Record<string, unknown>>(base: T, mine: T, theirs: T): Merged<T> {
  const value = { ...theirs };
  const conflicts: Array<keyof T & string> = [];
  for (const field of Object.keys(base) as Array<keyof T & string>) {
    if (mine[field] === base[field]) continue;
    value[field] = mine[field];
    if (theirs[field] !== base[field] && theirs[field] !== mine[field]) conflicts.push(field);
  }
  return { value, conflicts };
}

/** Only the fields that differ: what a merge patch (RFC 7396) sends. */
export function changed<T extends Record<string, unknown>>(base: T, mine: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(mine).filter(([field, value]) => value !== base[field]),
  ) as Partial<T>;
}
