/**
 * Lets Media Chrome's elements keep their styles under `style-src 'self'`.
 *
 * They write `<style>` into their shadow roots, which a strict content security policy refuses
 * (muxinc/media-chrome issue 898). Constructed style sheets are not inline styles, so this module takes
 * the CSS out of the markup and adopts it instead. Call it once, before the first element is made.
 */

/** Selector by which Media Chrome looks for a style sheet to write its own rules to. */
const STYLE_SELECTOR = 'style:not([media])';

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

/**
 * Parses markup in an inert template, where no style is refused, and takes the CSS out. Drops nested
 * declarative shadow roots, too: their elements make and style their own.
 */
function parse(html: string): { content: DocumentFragment; css: string[] } {
  const template = document.createElement('template');
  template.innerHTML = html;
  const styles = [...template.content.querySelectorAll('style')];
  const css = styles.map((style) => style.textContent ?? '');
  for (const style of styles) style.remove();
  for (const nested of template.content.querySelectorAll('template[shadowrootmode]')) nested.remove();
  return { content: template.content, css };
}

function shield(root: ShadowRoot): void {
  const own = new CSSStyleSheet();
  const write = (html: string): void => {
    const { content, css } = parse(html);
    root.adoptedStyleSheets = [...css.map(sheetFor), own];
    root.replaceChildren(document.importNode(content, true));
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
