import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openOutput } from '../../lib/commands/open-output.js'
import { scratch } from '../helpers/run-cli.js'

await t.test('a run that was told to stop opens no target', async (t) => {
  const cwd = scratch(t)
  const options = { force: false, sources: [], signal: AbortSignal.abort() }
  await t.rejects(openOutput(join(cwd, 'new.st'), options), { name: 'AbortError' })
  t.strictSame(readdirSync(cwd), [])
})
