import { describe, expect, it } from 'vitest';
import { type Entry, found, RESULTS_MAX } from '../src/studio/palette';

const entry = (label: string, also = ''): Entry => ({
  id: label,
  label,
  kind: '',
  also,
  run: () => undefined,
});
const ENTRIES = [
  entry('Sunday concert', 'choir.concert Music'),
  entry('Évensong in June', 'choir.evensong'),
  entry('Audit'),
  entry('Concert hall', 'hall'),
  ...Array.from({ length: 20 }, (_, n) => entry(`Mass ${n}`)),
];
const labels = (typed: string): string[] => found(ENTRIES, typed).map(({ label }) => label);

describe('the palette', () => {
  it('finds_by_all_words_in_name_title_and_category_without_case_and_accents', () => {
    expect(labels('evensong')).toEqual(['Évensong in June']);
    expect(labels('MUSIC  sunday ')).toEqual(['Sunday concert']);
    expect(labels('choir.con')).toEqual(['Sunday concert']);
    expect(labels('sunday hall')).toEqual([]);
  });

  it('puts_what_begins_with_the_letters_first_and_shows_no_more_than_has_room', () => {
    expect(labels('concert')).toEqual(['Concert hall', 'Sunday concert']);
    expect(labels('')).toHaveLength(RESULTS_MAX);
    expect(labels('')[0]).toBe('Sunday concert');
    expect(labels('mass')).toHaveLength(RESULTS_MAX);
  });
});
