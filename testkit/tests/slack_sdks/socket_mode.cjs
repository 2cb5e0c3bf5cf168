// @slack/socket-mode: says what comes through the socket, and acknowledges as it is told to.
const { createInterface } = require('node:readline');
const { SocketModeClient, LogLevel } = require('@slack/socket-mode');

const [slackApiUrl, appToken] = process.argv.slice(2);
const say = (words) => process.stdout.write(`${JSON.stringify(words)}\n`);
const client = new SocketModeClient({
  appToken,
  logLevel: LogLevel.ERROR,
  clientPingTimeout: 5000,
  clientOptions: { slackApiUrl },
});

for (const state of ['connected', 'reconnecting', 'disconnected']) {
  client.on(state, () => say({ saw: state }));
}
const acks = new Map();
client.on('slack_event', ({ ack, envelope_id, type, body, retry_num, retry_reason }) => {
  acks.set(envelope_id, ack);
  say({ saw: type, envelope_id, payload: body, retry_num, retry_reason });
});

(async () => {
  await client.start();
  for await (const line of createInterface({ input: process.stdin })) {
    const { envelope_id, payload } = JSON.parse(line);
    await acks.get(envelope_id)(payload);
  }
  await client.disconnect();
  process.exit(0);
})();
