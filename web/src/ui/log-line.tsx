/** A stream is a signed log, so its pages draw it: a tick a second, filled for media, hollow for a gap, notched where a session begins. */

import { type History, TICKS, ticks } from '../studio/history';
import { now } from './time';

const STEP = 4;
const HEIGHT = 14;

export function LogLine({ history }: { history: History }) {
  const line = ticks(history, now.value);
  return (
    <svg
      class="log-line"
      viewBox={`0 0 ${TICKS * STEP} ${HEIGHT}`}
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      {line.map((tick, index) => (
        <rect
          key={index}
          class={`tick tick-${tick ?? 'unknown'}`}
          x={index * STEP + 0.5}
          width={STEP - 1.6}
          {...(tick === 'media' || tick === 'gap'
            ? { y: 3.5, height: 7 }
            : tick === 'break'
              ? { y: 0.5, height: 13 }
              : { y: 6.5, height: 1 })}
        />
      ))}
    </svg>
  );
}
