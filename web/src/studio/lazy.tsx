/** Pages whose code comes when they are first opened. */

import type { ComponentType, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError } from '../api/request';
import { Failure, Placeholder } from '../ui/loaded';

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): (props: P) => JSX.Element {
  let loaded: ComponentType<P> | null = null;
  return function Lazy(props: P) {
    const [Page, setPage] = useState<ComponentType<P> | null>(() => loaded);
    const [isLost, setLost] = useState(false);
    useEffect(() => {
      if (Page || isLost) return;
      load().then(
        (page) => {
          loaded = page;
          setPage(() => page);
        },
        () => setLost(true),
      );
    }, [Page, isLost]);
    if (Page) return <Page {...props} />;
    if (!isLost) return <Placeholder rows={4} />;
    const error = new ApiError(
      'away',
      'A part of the studio did not arrive. The server may have been renewed: load the page again.',
      0,
      '',
      '',
    );
    return <Failure error={error} what="The page cannot be shown." again={() => location.reload()} />;
  };
}
