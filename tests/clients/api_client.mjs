// Rocket.Chat's own REST client, the one behind its web front end. It has no calls by name: all of them are get and post.
import { RestClient } from '@rocket.chat/api-client';
import { play, url, username } from './scenario.mjs';

await play('@rocket.chat/api-client', {
  async login(password) {
    const session = new RestClient({ baseUrl: url });
    const { data } = await session.post('/v1/login', { user: { username }, password });
    session.setCredentials({ 'X-User-Id': data.userId, 'X-Auth-Token': data.authToken });
    return { session, data };
  },
  list: (session) => session.get('/v1/sessions/list', { offset: 0, count: 50 }),
  logoutMe: (session, sessionId) => session.post('/v1/sessions/logout.me', { sessionId }),
  logout: (session) => session.post('/v1/logout'),
  // Rejects with the Response itself.
  refusal: async (response) => ({ status: response.status, body: await response.json() }),
});
