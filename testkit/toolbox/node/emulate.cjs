// Runs one service of emulate on a free port of 127.0.0.1, with the seed given as JSON, and says where.
//
// By itself emulate listens on every interface and wants its port chosen for it. Slack's methods that read can be called
// with GET or POST, as Slack's own SDKs do; emulate knows POST alone, so a query is handed on as a form.
const http = require('node:http');
const { Server } = require('node:net');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

const [service, seed] = process.argv.slice(2);

let inner;
const listen = Server.prototype.listen;
Server.prototype.listen = function (port, host, ...rest) {
  if (host === undefined) {
    inner = this;
    return listen.call(this, port, '127.0.0.1', ...rest);
  }
  return listen.call(this, port, host, ...rest);
};

const front = http.createServer((request, response) => {
  const [path, query] = request.url.split('?');
  const asForm = service === 'slack' && request.method === 'GET' && path.startsWith('/api/');
  const headers = { ...request.headers };
  if (asForm) {
    headers['content-type'] = 'application/x-www-form-urlencoded';
    headers['content-length'] = Buffer.byteLength(query ?? '');
  }
  const onward = http.request(
    {
      host: '127.0.0.1',
      port: inner.address().port,
      path: asForm ? path : request.url,
      method: asForm ? 'POST' : request.method,
      headers,
    },
    (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    },
  );
  onward.on('error', () => response.destroy());
  if (asForm) {
    onward.end(query);
  } else {
    request.pipe(onward);
  }
});

const main = async () => {
  await new Promise((resolve) => front.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${front.address().port}`;
  const api = pathToFileURL(join(process.env.NODE_PATH, 'emulate', 'dist', 'api.js'));
  const { createEmulator } = await import(api);
  await createEmulator({ service, port: 0, baseUrl: url, seed: { [service]: JSON.parse(seed) } });
  process.stdout.write(`${JSON.stringify({ saw: 'start', url })}\n`);
  // It ends with whoever started it.
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
