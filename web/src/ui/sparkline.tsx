/** A figure over the last two minutes: a drawing, a sentence for whoever does not see it, and the numbers as a table. */

import { useId, useState } from 'preact/hooks';
import { bitrate } from '../format';
import { type History, SPAN_MS } from '../studio/history';
import { common, uiSparkline as t } from '../text/en';
import { clockAt, now } from './time';

const WIDTH = 480;
const HEIGHT = 96;
/** Space for the line's own width. */
const EDGE = 3;
/** Two looks further apart than this have a gap between them, milliseconds. */
const GAP_MS = 6_000;

interface Point {
  at: number;
  value: number;
}

/** Runs of points without a gap. Pure. */
export function runs(points: readonly Point[]): Point[][] {
  const all: Point[][] = [];
  for (const point of points) {
    const run = all.at(-1);
    const before = run?.at(-1);
    if (run && before && point.at - before.at <= GAP_MS) run.push(point);
    else all.push([point]);
  }
  return all;
}

/** What the drawing shows, as a sentence. Pure. */
export function sentence(points: readonly Point[]): string {
  const newest = points.at(-1);
  if (!newest) return t.noFiguresYet;
  const lowest = points.reduce((least, point) => (point.value < least.value ? point : least), newest);
  return t.bitrateLowestBitrate2AtClock(bitrate(newest.value), bitrate(lowest.value), clockAt(lowest.at));
}

export function BitRate({ history }: { history: History }) {
  const [isTable, setTable] = useState(false);
  const id = useId();
  const points = history.samples.flatMap(({ at, bitRate }) =>
    bitRate === null ? [] : [{ at, value: bitRate }],
  );
  const top = Math.max(1, ...points.map(({ value }) => value)) * 1.15;
  const x = (at: number): number => WIDTH - ((now.value - at) / SPAN_MS) * WIDTH;
  const y = (value: number): number => HEIGHT - EDGE - (value / top) * (HEIGHT - 2 * EDGE);
  const path = (run: Point[]): string =>
    run
      .map(({ at, value }, index) => `${index === 0 ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`)
      .join('');
  const area = (run: Point[]): string =>
    `${path(run)}L${x(run.at(-1)?.at ?? 0).toFixed(1)} ${HEIGHT}L${x(run[0]?.at ?? 0).toFixed(1)} ${HEIGHT}Z`;
  return (
    <figure class="series" aria-labelledby={id}>
      <div class="series-head">
        <figcaption id={id}>
          <span class="series-name">{t.bitRateLastTwoMinutes}</span>{' '}
          <span class="series-now">{sentence(points)}</span>
        </figcaption>
        <button type="button" class="link" aria-expanded={isTable} onClick={() => setTable(!isTable)}>
          {isTable ? t.showAsGraph : t.showAsTable}
        </button>
      </div>
      {isTable ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard
        <section class="series-table" aria-label={common.bitRate} tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t.time}</th>
                <th scope="col">{common.bitRate}</th>
              </tr>
            </thead>
            <tbody>
              {[...points].reverse().map(({ at, value }) => (
                <tr key={at}>
                  <td>{new Date(at).toLocaleTimeString()}</td>
                  <td>{bitrate(value)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      ) : (
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          aria-hidden="true"
          focusable="false"
        >
          {runs(points).map((run) => (
            <g key={run[0]?.at}>
              <path class="series-area" d={area(run)} />
              <path class="series-line" d={path(run)} vector-effect="non-scaling-stroke" />
            </g>
          ))}
        </svg>
      )}
    </figure>
  );
}
