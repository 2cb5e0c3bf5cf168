// Unpacks the Chromium of @sparticuz/chromium into the folder given, and writes how it is run into browser.json there.
//
// The package is made for a place without libraries: it brings some, which are used where the machine has none.
const { execFileSync } = require('node:child_process');
const { mkdirSync, writeFileSync } = require('node:fs');
const { join, resolve } = require('node:path');

const folder = resolve(process.argv[2]);

const runs = (program, environment) => {
  try {
    execFileSync(program, ['--version'], { env: { ...process.env, ...environment }, stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

const main = async () => {
  mkdirSync(folder, { recursive: true });
  // It unpacks into the temporary folder, and the libraries only where it believes to be on Amazon's Linux.
  process.env.TMPDIR = folder;
  process.env.AWS_EXECUTION_ENV = 'AWS_Lambda_nodejs22.x';
  // When it is loaded it puts its libraries first in here.
  const before = process.env.LD_LIBRARY_PATH;
  const chromium = require('@sparticuz/chromium');
  if (before === undefined) {
    delete process.env.LD_LIBRARY_PATH;
  } else {
    process.env.LD_LIBRARY_PATH = before;
  }
  const program = await chromium.executablePath();
  const own = runs(program, {});
  if (!own && !runs(program, { LD_LIBRARY_PATH: join(folder, 'al2023', 'lib') })) {
    throw new Error(`${program} does not run on this machine`);
  }
  writeFileSync(
    join(folder, 'browser.json'),
    JSON.stringify({ arguments: chromium.args, bringsLibraries: !own }),
  );
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
