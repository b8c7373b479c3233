/** What the API's codes for a refused member mean, as sentences. Pure. */

const CODES: Record<string, string> = {
  required: 'Fill this in.',
  too_long: 'This is too long.',
  too_short: 'This is too short.',
  wrong_form: 'Use letters, digits, “-”, “_” and “.” only.',
  misleading: 'This name could be taken for something else. Use another.',
  not_own: 'This name belongs to other tenants.',
  unknown: 'This is not known here.',
  out_of_range: 'This is out of range.',
  control_characters: 'This has characters that cannot be shown.',
  read_only: 'This cannot be changed.',
  operators_only: 'Only operators may have this.',
  not_with_scopes: 'Choose a role or scopes, not both.',
};

export const codeText = (code: string | null): string | null =>
  code === null ? null : (CODES[code] ?? `Not possible: ${code}.`);
