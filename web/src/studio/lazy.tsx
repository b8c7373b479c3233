/** Pages whose code comes when they are first opened. */

import type { ComponentType, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError } from '../api/request';
import { lazy as t } from '../text/en';
import { Failure, Placeholder } from '../ui/loaded';

/** `placeholder` stands there until it has come: that of a page, unless something else is given. */
export function lazy<P extends object>(
  load: () => Promise<ComponentType<P>>,
  placeholder: () => JSX.Element | null = () => <Placeholder rows={4} />,
): (props: P) => JSX.Element | null {
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
    if (!isLost) return placeholder();
    const error = new ApiError('away', t.aPartDidNotArrive, 0, '', '');
    return <Failure error={error} what={t.thePageCannotBeShown} again={() => location.reload()} />;
  };
}
