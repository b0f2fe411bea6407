// Rocket.Chat's SDK for bots and apps. Its REST half alone: the whole client also wants the server's WebSocket.
import rest from '@rocket.chat/sdk/lib/api/RocketChat.js';
import { play, url, username } from './scenario.mjs';

await play('@rocket.chat/sdk', {
  async login(password) {
    const session = new rest.default({ host: url });
    return { session, data: await session.login({ username, password }) };
  },
  list: (session) => session.get('sessions/list'),
  logoutMe: (session, sessionId) => session.post('sessions/logout.me', { sessionId }),
  logout: (session) => session.logout(),
  // Rejects with { status, data }.
  refusal: ({ status, data }) => ({ status, body: data }),
});
