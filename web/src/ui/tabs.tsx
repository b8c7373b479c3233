/** Tabs that are pages: each has an address, so they are links, and the open one says that it is. */

export function Tabs({
  label,
  tabs,
  open,
}: {
  label: string;
  tabs: ReadonlyArray<readonly [id: string, label: string, href: string]>;
  open: string;
}) {
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map(([id, text, href]) => (
        <a key={id} href={href} aria-current={id === open ? 'page' : undefined}>
          {text}
        </a>
      ))}
    </nav>
  );
}
