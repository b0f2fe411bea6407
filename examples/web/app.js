// A front end on another origin than the service: it signs in, and lists and ends sessions.
import { Sessiond, SessiondError, reloadOnNewBuild } from '../../clients/js/sessiond.js';

const service = document.querySelector('meta[name=sessiond]').content;
const sessiond = new Sessiond(service, { credentials: 'include', onNewBuild: reloadOnNewBuild });

const at = (id) => document.getElementById(id);
const [heading, notice, failure] = [document.querySelector('h1'), at('notice'), at('failure')];
const [form, signedIn, list] = [at('log-in'), at('signed-in'), at('sessions')];
const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

function showTime(element, at) {
  element.dateTime = at;
  element.textContent = when.format(new Date(at));
}

function card(session) {
  const item = at('session').content.cloneNode(true);
  const find = (selector) => item.querySelector(selector);
  const { name, os } = session.device;
  const device = [name || 'Unknown device', os].filter(Boolean).join(' on ');
  find('h3').textContent = device;
  find('.address').textContent = session.ip;
  showTime(find('.created'), session.created_at);
  showTime(find('.seen'), session.last_seen_at);
  const button = find('button');
  if (session.current) {
    const badge = document.createElement('strong');
    badge.textContent = 'This device';
    button.replaceWith(badge);
  } else {
    button.setAttribute('aria-label', `Sign out ${device}, ${session.ip}`);
    button.addEventListener('click', () => act(() => endOne(session.id, device)));
  }
  return item;
}

/** Shows who is signed in and where, or the form. Whatever changes something ends with this. */
async function show() {
  const me = await sessiond.whoAmI();
  const cards = [];
  if (me) for await (const session of sessiond.sessions()) cards.push(card(session));
  form.hidden = me !== null;
  signedIn.hidden = me === null;
  at('who').textContent = me ? `Signed in as ${me.user.name}` : '';
  list.replaceChildren(...cards);
}

async function endOne(id, device) {
  try {
    await sessiond.endSession(id);
  } catch (error) {
    if (error.status !== 404) throw error; // it had ended already
  }
  return `Signed out of ${device}.`;
}

const count = (sessions) => (sessions === 1 ? '1 session was signed out.' : `${sessions} sessions were signed out.`);

const words = {
  authentication_error: 'That username and password do not match.',
  network_error: 'The service cannot be reached. Check your connection, and that the service lists this origin.',
  timeout_error: 'The service did not answer in time. Try again.',
};

function describe(error) {
  if (!(error instanceof SessiondError)) throw error;
  const again = error.retryAfter === null ? '' : ` Try again in ${error.retryAfter} seconds.`;
  const quote = error.requestId === null ? '' : ` (request ${error.requestId})`;
  return (words[error.type] ?? `${error.detail}.${quote}`) + again;
}

/** Does one thing after the other, says what came of it, and shows how things are now. */
let busy = false;
async function act(change) {
  if (busy) return;
  busy = true;
  notice.textContent = failure.textContent = '';
  try {
    notice.textContent = await change();
    await show();
    heading.focus(); // what had the focus may be gone
  } catch (error) {
    // Somebody who was signed out elsewhere sees the form, and not that a password was wrong.
    const ended = error.type === 'authentication_error' && form.hidden;
    if (ended) await show().catch(() => {});
    failure.textContent = ended ? 'You were signed out. Sign in again.' : describe(error);
    if (!form.hidden) at(form.elements.username.value ? 'password' : 'username').focus();
  } finally {
    busy = false;
  }
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  act(async () => {
    const { username, password, remember } = form.elements;
    await sessiond.logIn({ username: username.value, password: password.value, remember: remember.checked });
    form.reset();
    return 'You are signed in.';
  });
});
at('log-out').addEventListener('click', () => act(async () => ((await sessiond.logOut()), 'You were signed out.')));
at('end-others').addEventListener('click', () => act(async () => count(await sessiond.endOtherSessions())));
at('end-all').addEventListener('click', () => {
  if (!confirm('This signs you out on every device, this one included.')) return;
  act(async () => count(await sessiond.endAllSessions()));
});

show().catch((error) => {
  failure.textContent = describe(error);
});
