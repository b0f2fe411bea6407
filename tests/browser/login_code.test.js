// The second step of signing in, where a second factor is set.
import assert from 'node:assert/strict';
import { authenticator } from './authenticator.js';
import {
  FIREFOX,
  USER_AGENTS,
  answerWith,
  button,
  field,
  hasLostAccess,
  isAt,
  link,
  loads,
  pressButton,
  scenario,
  sendLogin,
  signIn,
  startService,
  startSite,
  until,
} from './support.js';

const application = await startSite((request, response) => answerWith(response, 'the application'));
const service = await startService({ SESSIOND_ALLOWED_RETURN_ORIGINS: application.origin() });

const loginPage = (returnTo) => `${service.url}/login?${new URLSearchParams({ return_to: returnTo })}`;
const codePage = (returnTo) => `${service.url}/login/code?${new URLSearchParams({ return_to: returnTo })}`;

/** A user with a second factor. */
async function addUser() {
  const user = service.addUser();
  return { user, ...(await service.setUpSecondFactor(user)) };
}

/** Gets as far as the question for a code. */
async function takeFirstStep({ page }, user) {
  await page.goto(`${service.url}/login`);
  await sendLogin(page, user);
  isAt(page, `${service.url}/login/code`);
}

async function enter(page, code) {
  await field(page, 'code').fill(code);
  await pressButton(page, 'Sign in');
}

const error = (page) => page.getByRole('alert').innerText();

/** The cookie by which the browser is known while it waits for a code. */
async function waiting({ context }) {
  return (await context.cookies(`${service.url}/login/code`)).find(({ name }) => name === '_me_sess_code');
}

scenario('nobody is signed in before the code was right', async (open) => {
  const { user, app } = await addUser();
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/);
  await takeFirstStep(person, user);
  assert.equal(await person.cookie(service.url), undefined);
  const { httpOnly, secure, sameSite, path, expires } = await waiting(person);
  assert.deepEqual({ httpOnly, secure, sameSite, path }, { httpOnly: true, secure: true, sameSite: 'Strict', path: '/login' });
  const seconds = expires - Date.now() / 1000;
  assert.ok(seconds > 280 && seconds <= 300, `${seconds} seconds`);
  await hasLostAccess(person, service);

  await page.goto(`${service.url}/login/code`);
  await enter(page, app.wrongCode());
  isAt(page, `${service.url}/login/code`);
  assert.equal(await error(page), 'That code is not right, or was used before.');
  const alert = page.getByRole('alert');
  assert.ok(await alert.evaluate((element) => element === document.activeElement), 'focus is on the error');
  assert.equal(await person.cookie(service.url), undefined);
  await hasLostAccess(person, service);

  await page.goto(`${service.url}/login/code`);
  await enter(page, await app.code());
  isAt(page, `${service.url}/sessions`);
  assert.ok(await service.isLive((await person.cookie(service.url)).value));
  assert.equal(await waiting(person), undefined);
});

scenario('a code is read with blanks, and its field is known to phones', async (open) => {
  const { user, app } = await addUser();
  const person = await open();
  const { page } = person;
  await takeFirstStep(person, user);
  const attributes = ['type', 'inputmode', 'autocomplete', 'autocapitalize', 'spellcheck'];
  assert.deepEqual(
    await field(page, 'code').evaluate((input, names) => names.map((name) => input.getAttribute(name)), attributes),
    ['text', null, 'one-time-code', 'none', 'false'],
    'recovery codes have letters',
  );
  assert.deepEqual(
    await field(page, 'code').evaluate(({ labels }) => [...labels].map((label) => label.textContent)),
    ['Code'],
  );
  await enter(page, (await app.code()).replace(/^.../, '$& '));
  isAt(page, `${service.url}/sessions`);
});

scenario('a recovery code signs in once, however it is written', async (open) => {
  const { user, recoveryCodes } = await addUser();
  const written = [
    (code) => code.toLowerCase(),
    (code) => ` ${code.replaceAll('-', ' ').toLowerCase()} `,
    (code) => code.replaceAll('-', ''),
  ];
  for (const [index, write] of written.entries()) {
    const person = await open();
    person.expect(...(index > 0 ? [/status of 401/] : []));
    await takeFirstStep(person, user);
    if (index > 0) {
      await enter(person.page, recoveryCodes[0]);
      assert.match(await error(person.page), /used before/);
    }
    await enter(person.page, write(recoveryCodes[index]));
    isAt(person.page, `${service.url}/sessions?recovery_code_used=1`);
    const left = recoveryCodes.length - index - 1;
    assert.match(await person.page.getByRole('status').innerText(), new RegExp(`${left} recovery codes are left`));
    await loads(person.page, link(person.page, 'Get new recovery codes').click());
    isAt(person.page, `${service.url}/second-factor`);
  }
});

scenario('a person stays signed in if they asked for it with their password', async (open) => {
  const { user, recoveryCodes } = await addUser();
  for (const [remember, wanted] of [
    [true, 30],
    [false, undefined],
  ]) {
    const person = await open();
    await takeFirstStep(person, { ...user, remember });
    await enter(person.page, recoveryCodes.pop());
    const { expires } = await person.cookie(service.url);
    const days = expires < 0 ? undefined : Math.round((expires - Date.now() / 1000) / (24 * 60 * 60));
    assert.equal(days, wanted);
  }
});

scenario('a person returns to where they came from', async (open) => {
  const { user, app, recoveryCodes } = await addUser();
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/);
  const ours = '/password?a=1&b=%26&c=+&d=%C3%A9&return_to=z';
  const theirs = `${application.origin()}/x?a=1&b=%26&c=+&d=%C3%A9&return_to=z`;
  for (const [returnTo, end] of [
    [ours, service.url + ours],
    [theirs, theirs],
    ['https://hostile.example/', `${service.url}/sessions?recovery_code_used=1`],
  ]) {
    await page.goto(loginPage(returnTo));
    await sendLogin(page, user);
    assert.equal(new URL(page.url()).searchParams.get('return_to'), returnTo);
    await enter(page, app.wrongCode());
    await field(page, 'code').fill(recoveryCodes.pop());
    await button(page, 'Sign in').click();
    await page.waitForURL(end);
    await person.context.clearCookies();
  }
});

scenario('a login that waits no more begins again, and knows where to return to', async (open) => {
  const { user, app } = await addUser();
  const person = await open();
  const { page } = person;
  const returnTo = '/password?a=%26';
  await page.goto(codePage(returnTo));
  isAt(page, loginPage(returnTo));
  await page.goto(`${service.url}/login/code`);
  isAt(page, `${service.url}/login`);

  await page.goto(loginPage(returnTo));
  await sendLogin(page, user);
  isAt(page, codePage(returnTo));
  await person.context.clearCookies();
  await enter(page, await app.code());
  isAt(page, loginPage(returnTo));
  assert.equal(await person.cookie(service.url), undefined);
  await sendLogin(page, user);
  await enter(page, await app.code());
  isAt(page, service.url + returnTo);
});

scenario('the way back from the code to the password knows where to return to', async (open) => {
  const { user } = await addUser();
  const other = service.addUser();
  const { page } = await open();
  const returnTo = '/password?a=%26';
  await page.goto(loginPage(returnTo));
  await sendLogin(page, user);
  await loads(page, link(page, 'Back to sign in').click());
  await sendLogin(page, other);
  isAt(page, service.url + returnTo);
});

scenario('two tabs ask for a code, and both end up signed in', async (open) => {
  const { user, app } = await addUser();
  const person = await open();
  const tabs = [person.page, await person.context.newPage()];
  for (const page of tabs) await takeFirstStep({ page }, user);
  await enter(tabs[0], await app.code());
  isAt(tabs[0], `${service.url}/sessions`);
  const { value } = await person.cookie(service.url);
  await enter(tabs[1], await app.code());
  isAt(tabs[1], `${service.url}/sessions`);
  assert.equal(await tabs[1].getByRole('listitem').count(), 1);
  assert.equal((await person.cookie(service.url)).value, value, 'there was nothing left to sign in');
});

scenario('a form that uses up a code is sent once, however often its button is pressed', { scripts: [true] }, async (open) => {
  const { user, app, recoveryCodes } = await addUser();
  const { page } = await open();
  const pressTwice = async (name) => {
    let posts = 0;
    let answer;
    const pressed = new Promise((resolve) => {
      answer = resolve;
    });
    await page.route('**', async (route) => {
      if (route.request().method() === 'POST') {
        posts += 1;
        await pressed;
      }
      await route.continue();
    });
    await button(page, name).scrollIntoViewIfNeeded();
    const { x, y } = await button(page, name).boundingBox();
    const press = async () => {
      for (let times = 0; times < 2; times += 1) await page.mouse.click(x + 8, y + 8);
      await until('it is sent', () => posts > 0);
      answer();
    };
    await loads(page, press());
    await page.unrouteAll();
    assert.equal(posts, 1, name);
  };
  await takeFirstStep({ page }, user);
  await field(page, 'code').fill(await app.code());
  await pressTwice('Sign in');
  isAt(page, `${service.url}/sessions`);

  const ask = async () => {
    await page.goto(`${service.url}/second-factor`);
    await field(page, 'current_password').fill(user.password);
    await field(page, 'code').fill(recoveryCodes.pop());
  };
  await ask();
  await pressTwice('Use another authenticator');
  await field(page, 'code').fill(await authenticator(await page.locator('.secret').innerText()).code());
  await pressTwice('Switch on');
  assert.equal(await page.locator('.codes li').count(), 10, 'the recovery codes are not lost');
});

scenario('a wrong code ends no session that the browser has', async (open) => {
  const { user, app } = await addUser();
  const other = service.addUser();
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/);
  await signIn(person, service, other);
  const { value } = await person.cookie(service.url);
  await page.goto(`${service.url}/login?again=1`);
  await sendLogin(page, user);
  await enter(page, app.wrongCode());
  assert.equal((await person.cookie(service.url)).value, value);
  assert.ok(await service.isLive(value));
  await enter(page, await app.code());
  isAt(page, `${service.url}/sessions`);
  assert.ok((await page.locator('main').innerText()).includes(user.username));
  assert.equal(await service.isLive(value), false, 'the new session takes its place');
});

scenario('a one-time password is changed together with a code, and entered twice at most', async (open) => {
  const { user, app, recoveryCodes } = await addUser();
  const token = await service.logIn({ ...user, code: recoveryCodes[0] }, USER_AGENTS[FIREFOX]);
  const oneTime = { ...user, password: service.resetPassword(user) };
  assert.equal(await service.isLive(token), false);
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/);
  await page.goto(loginPage('/password'));
  await sendLogin(page, oneTime);
  assert.match(await error(page), /^This password works once\. Enter it again together with a code/);

  const again = async (code) => {
    await field(page, 'password').fill(oneTime.password);
    await field(page, 'new_password').fill('a wholly new passphrase');
    await field(page, 'code').fill(code);
    await pressButton(page, 'Sign in');
  };
  await again(app.wrongCode());
  assert.match(await error(page), /code is not right/);
  assert.equal(await person.cookie(service.url), undefined);
  await again(await app.code());
  isAt(page, `${service.url}/password`);
  assert.ok(await service.isLive((await person.cookie(service.url)).value));

  const next = await open();
  await takeFirstStep(next, { ...user, password: 'a wholly new passphrase' });
  await enter(next.page, await app.code());
  isAt(next.page, `${service.url}/sessions`);
});

scenario('too many wrong codes are refused for a while, and say for how long', async (open) => {
  const { user, app, recoveryCodes } = await addUser();
  const person = await open();
  const { page } = person;
  person.expect(/status of 401/, /status of 429/);
  await takeFirstStep(person, user);
  await until('a try is refused unseen', async () => {
    await enter(page, app.wrongCode());
    return /^Too many attempts\. Try again in \d seconds?\.$/.test(await error(page));
  });
  assert.equal(await person.cookie(service.url), undefined);
  await until('the wait is over', async () => {
    await enter(page, recoveryCodes[0]);
    return page.url() === `${service.url}/sessions?recovery_code_used=1`;
  });
});
