// A community client, and the one that logs out with GET.
import assert from 'node:assert/strict';
import rocketchat from 'rocketchat-api';
import { LOGGED_OUT, play, url, username } from './scenario.mjs';

const connect = () => {
  const { hostname, port } = new URL(url);
  const session = new rocketchat('http', hostname, port);
  session.wsClient.disconnect(); // it would go on trying a WebSocket
  return session;
};

await play('rocketchat-api', {
  async login(password) {
    const session = connect();
    return { session, data: await session.login(username, password) };
  },
  async refusedLogin(password) {
    const session = connect();
    await assert.rejects(session.login(username, password), { message: 'Could not login. Check username and password' });
    return session.restClient.request('POST', 'login', { user: username, password }); // the same, with a status
  },
  list: ({ restClient }) => restClient.request('GET', 'sessions/list', { offset: 0, count: 50 }),
  logoutMe: ({ restClient }, sessionId) => restClient.request('POST', 'sessions/logout.me', { sessionId }),
  logout: (session) => session.logout(),
  loggedOut: LOGGED_OUT.data, // it hands on this member alone
  // It forgets its credentials at logout.
  pickUpAgain({ session, data }) {
    session.setUserId(data.userId);
    session.setAuthToken(data.authToken);
  },
  // It has words of its own for 401 and 404, and hands on `error` for the rest.
  refusal: ({ statusCode, message }) => ({ status: statusCode, error: statusCode === 400 ? message : undefined }),
});
