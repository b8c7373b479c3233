// The certified OpenID provider of npm, on HTTPS, for one client. Whoever comes is Vera, who agrees to everything.
//
//   node provider.mjs CERTIFICATE KEY CLIENT SECRET REDIRECT_URI
//
// Prints its URL as the first line, and serves until standard input ends.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const [certificate, key, client, secret, redirect] = process.argv.slice(2);
let handle;
const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) =>
  handle(request, response),
);
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `https://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{ client_id: client, client_secret: secret, redirect_uris: [redirect] }],
  // Members of the ID token itself: nobody asks for more of it.
  conformIdTokenClaims: false,
  claims: { openid: ['sub'], profile: ['name', 'groups'] },
  scopes: ['openid', 'profile'],
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: 'Vera of school', groups: ['pupils', 'teachers'] }),
  }),
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
});

async function agree(request, response) {
  const { prompt, session, params } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    await provider.interactionFinished(request, response, { login: { accountId: 'vera' } });
    return;
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const consent = { grantId: await grant.save() };
  await provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}

const rest = provider.callback();
handle = (request, response) => {
  if (!request.url.startsWith('/interaction/')) return rest(request, response);
  return agree(request, response).catch((error) => response.writeHead(500).end(String(error)));
};
console.log(issuer);
// Nobody reads what the provider notes from here on.
console.info = console.warn = console.error = console.log = () => {};
process.stdin.on('end', () => process.exit(0)).resume();
