/** What the API's codes for a refused member mean, as sentences. Pure. */

import { problems as t } from '../text/en-later';

const CODES: Record<string, string> = {
  required: t.fillThisIn,
  too_long: t.thisIsTooLong,
  too_short: t.thisIsTooShort,
  wrong_form: t.useLettersDigitsAndOnly,
  misleading: t.thisNameCouldBeTakenFor,
  not_own: t.thisNameBelongsToOtherTenants,
  unknown: t.thisIsNotKnownHere,
  out_of_range: t.thisIsOutOfRange,
  control_characters: t.thisHasCharactersThatCannotBe,
  read_only: t.thisCannotBeChanged,
  operators_only: t.onlyOperatorsMayHaveThis,
  not_with_scopes: t.chooseARoleOrScopesNot,
};

export const codeText = (code: string | null): string | null =>
  code === null ? null : (CODES[code] ?? t.notPossibleCode(code));
