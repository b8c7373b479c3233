/** The studio's icons, 24 × 24, in the current colour. They are decoration: a word always stands beside them, or labels the button. */

const PATHS = {
  add: 'M12 5v14M5 12h14',
  alert: 'M12 4 2.8 19.5h18.4L12 4Zm0 6v4.5m0 3h.01',
  audit: 'M6 3.5h9l3.5 3.5v13.5H6zM9 11h6m-6 4h6',
  back: 'm14.5 5-7 7 7 7',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  close: 'm6 6 12 12M18 6 6 18',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  download: 'M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 20h14',
  external: 'M9 5H5v14h14v-4M13 5h6v6m0-6-9 9',
  find: 'M11 17.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Zm4.7-1.8L20 20',
  hidden:
    'M4 4l16 16M9.9 6A9 9 0 0 1 12 5.8c5 0 8.3 4.2 9 6.2a11 11 0 0 1-2.9 4M6.2 7.9A11 11 0 0 0 3 12c.7 2 4 6.2 9 6.2 1.3 0 2.5-.3 3.5-.7',
  key: 'M14.5 9.5a4.5 4.5 0 1 1-9 0 4.5 4.5 0 0 1 9 0Zm-1.3 3.2L20 19.5m-3-3 2-2',
  members:
    'M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.8 19.5c.6-3.4 3-5 6.2-5s5.6 1.6 6.2 5M16 4.8a3.5 3.5 0 0 1 0 6.4m2 3.6c1.8.6 2.9 2 3.3 4.2',
  menu: 'M4 7h16M4 12h16M4 17h16',
  pulse: 'M3 12h4l2.5-6 4 12 2.5-6h5',
  shown:
    'M3 12c.7-2 4-6.2 9-6.2s8.3 4.2 9 6.2c-.7 2-4 6.2-9 6.2S3.7 14 3 12Zm9 2.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6Z',
  signal:
    'M12 12h.01M8.5 15.5a5 5 0 0 1 0-7m7 0a5 5 0 0 1 0 7M5.6 18.4a9 9 0 0 1 0-12.8m12.8 0a9 9 0 0 1 0 12.8',
  streams: 'M4 6.5h16v11H4zM10 9.8v4.4l4-2.2-4-2.2Z',
  usage: 'M5 19V11m5 8V5m5 14v-6m5 6V8',
  webhook:
    'M12 4.5a3.5 3.5 0 0 0-1.7 6.5L7 16.5m5-12a3.5 3.5 0 0 1 3.3 4.7M12 8l3.5 6m-8.7.2A3.5 3.5 0 1 0 10 17.5h6m-.4-3.4a3.5 3.5 0 1 1-1.6 6',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        stroke-width="1.7"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
