// An authenticator app: time-based one-time passwords (RFC 6238) with SHA-1, six digits and steps of 30 seconds.
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { PERIOD, stepAt, totp } from '../../clients/js/test/servers.js';

/** The authenticator that a secret was scanned into, or typed with blanks between its letters. */
export function authenticator(secret) {
  const letters = secret.replaceAll(' ', '');
  assert.match(letters, /^[A-Z2-7]{32}$/);
  const codeOf = (step) => totp(letters, step);
  let last = 0;

  return {
    /**
     * A code of a step that was not given before. The service takes the step before the present one and the one after it, too,
     * so the first of them is given, and two more are left to be had without a wait.
     */
    async code() {
      // A step that is over while the browser is still typing would no longer be the one before.
      last = Math.max(last + 1, stepAt(Date.now() + 10_000) - 1);
      await setTimeout(Math.max(0, (last - 1) * PERIOD - Date.now()));
      return codeOf(last);
    },
    /** The code that was given last. */
    usedCode: () => codeOf(last),
    /** Six digits that are no code of any step about now. */
    wrongCode() {
      const now = stepAt(Date.now());
      const near = [-2, -1, 0, 1, 2, 3].map((drift) => codeOf(now + drift));
      return ['000000', '111111', '222222', '333333', '444444', '555555', '666666'].find((code) => !near.includes(code));
    },
  };
}
