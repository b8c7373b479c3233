/**
 * Lets Media Chrome's elements keep their styles under `style-src 'self'`.
 *
 * They write `<style>` into their shadow roots, which a strict content security policy refuses
 * (muxinc/media-chrome issue 898). Constructed style sheets are not inline styles, so here the CSS
 * is taken out of the markup and adopted instead. Called once, before the first element is made.
 */

/** What Media Chrome asks its shadow root for when it wants a rule of its own to write to. */
const STYLE_SELECTOR = 'style:not([media])';
const STYLE = /<style[^>]*>([\s\S]*?)<\/style>/g;

const sheets = new Map<string, CSSStyleSheet>();

function sheetFor(css: string): CSSStyleSheet {
  let sheet = sheets.get(css);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    sheets.set(css, sheet);
  }
  return sheet;
}

/** Splits markup from the CSS in its style elements. Pure. */
export function splitStyles(html: string): { markup: string; css: string[] } {
  const css = [...html.matchAll(STYLE)].map((match) => match[1] ?? '');
  return { markup: html.replace(STYLE, ''), css };
}

function shield(root: ShadowRoot): void {
  const own = new CSSStyleSheet();
  const parser = document.createElement('template');
  const write = (html: string): void => {
    const { markup, css } = splitStyles(html);
    root.adoptedStyleSheets = [...css.map(sheetFor), own];
    parser.innerHTML = markup;
    root.replaceChildren(document.importNode(parser.content, true));
  };
  const query = root.querySelectorAll.bind(root);
  Object.defineProperties(root, {
    setHTMLUnsafe: { value: write },
    innerHTML: { set: write },
    querySelectorAll: {
      value: (selector: string) => (selector === STYLE_SELECTOR ? [{ sheet: own }] : query(selector)),
    },
  });
}

/** Makes every future element of these classes adopt its styles. */
export function adoptStyles(classes: readonly (abstract new (...args: never[]) => HTMLElement)[]): void {
  if (!('adoptedStyleSheets' in ShadowRoot.prototype)) return;
  for (const { prototype } of classes) {
    Object.defineProperty(prototype, 'attachShadow', {
      configurable: true,
      value(this: HTMLElement, init: ShadowRootInit): ShadowRoot {
        const root = HTMLElement.prototype.attachShadow.call(this, init);
        shield(root);
        return root;
      },
    });
  }
}
