// What everybody needs of a page: in both languages, light and dark, narrow and wide, in large print, in forced colours and
// without motion.
import assert from 'node:assert/strict';
import { field, loads, requireModule, scenario, until } from './support.js';

export const AXE = requireModule.resolve('axe-core/axe.min.js');

/** Sends the form in which a field stands, whatever the language of its button. */
export const send = (page, name) => loads(page, field(page, name).press('Enter'));

/** What axe-core finds, as sentences. */
export const violations = (page) =>
  page.evaluate(async () => {
    const found = await axe.run({ rules: { 'target-size': { enabled: true } } });
    return found.violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
    );
  });

/** What stands out of the window at the side. */
const overflow = (page) =>
  page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const out = [...document.querySelectorAll('body *')].filter((element) => {
      const { left, right, width } = element.getBoundingClientRect();
      return width > 0 && (left < -0.5 || right > clientWidth + 0.5);
    });
    return [
      ...(scrollWidth > clientWidth ? [`${scrollWidth} of ${clientWidth} px`] : []),
      ...out.map(({ outerHTML }) => outerHTML),
    ];
  });

/** Controls that nobody would see where colours are forced, since only a background or a shadow shows them. */
const invisible = (page) =>
  page.evaluate(() => {
    const isSeen = (element) => {
      const style = getComputedStyle(element);
      const { borderTopStyle, borderTopWidth, borderTopColor, backgroundColor, textDecorationLine, appearance } = style;
      const hasBorder = borderTopStyle !== 'none' && parseFloat(borderTopWidth) >= 1 && borderTopColor !== backgroundColor;
      return hasBorder || textDecorationLine === 'underline' || (element.type === 'checkbox' && appearance !== 'none');
    };
    const controls = [...document.querySelectorAll('a, button, input:not([type="hidden"]), select')];
    return controls.filter((element) => !isSeen(element)).map(({ outerHTML }) => outerHTML);
  });

const moving = (page) =>
  page.evaluate(() => {
    const lasts = (durations) => durations.split(',').some((duration) => parseFloat(duration) > 0);
    return [...document.querySelectorAll('*')]
      .filter((element) => {
        const { animationName, animationDuration, transitionDuration, scrollBehavior } = getComputedStyle(element);
        return (
          (animationName !== 'none' && lasts(animationDuration)) || lasts(transitionDuration) || scrollBehavior === 'smooth'
        );
      })
      .map(({ outerHTML }) => outerHTML);
  });

/**
 * Tests pages.
 *
 * @param {Record<string, {go: (person: object, user: object) => Promise<void>, has: string}>} pages
 *   How to come to each page, and what only that page has.
 * @param {() => object} addUser Makes the user who comes there.
 */
export function canBeUsedByEverybody(pages, addUser) {
  for (const [name, { go, has }] of Object.entries(pages)) {
    for (const locale of ['en-US', 'de-DE']) {
      scenario(`${name} can be used by everybody, in ${locale}`, { scripts: [true] }, async (open) => {
        const person = await open({ locale });
        const { context, page } = person;
        await context.addInitScript({ path: AXE });
        await go(person, addUser());
        assert.equal(await page.locator(has).count(), 1, 'it is that page');
        assert.equal(await page.locator('html').getAttribute('lang'), locale.slice(0, 2));
        for (const colorScheme of ['light', 'dark']) {
          for (const width of [320, 1280]) {
            const how = `${colorScheme}, ${width} px`;
            await page.emulateMedia({ colorScheme });
            await page.setViewportSize({ width, height: 800 });
            assert.deepEqual(await violations(page), [], how);
            assert.deepEqual(await overflow(page), [], how);
          }
        }
        // Tables are narrowest before they become cards.
        await page.setViewportSize({ width: 820, height: 800 });
        assert.deepEqual(await overflow(page), [], '820 px');
        await page.emulateMedia({ reducedMotion: 'reduce' });
        assert.deepEqual(await moving(page), []);
        await page.emulateMedia({ forcedColors: 'active' });
        assert.deepEqual(await invisible(page), []);
        // Half of a wide window at 200 %, and then in print that is twice as large.
        await page.setViewportSize({ width: 640, height: 800 });
        const devtools = await context.newCDPSession(page);
        await devtools.send('Page.setFontSizes', { fontSizes: { standard: 32, fixed: 26 } });
        await until('print is larger', () =>
          page.evaluate(() => getComputedStyle(document.documentElement).fontSize === '32px'),
        );
        assert.deepEqual(await overflow(page), [], 'in large print');
      });
    }
  }
}
