export function generate(document: unknown, extra: unknown): string;
