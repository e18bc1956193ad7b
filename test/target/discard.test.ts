import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openTarget } from '../../lib/target/target.js'

void t.test('whoever discards second waits for the first, also in the middle of a commit', async (t) => {
  const folder = t.testdir()
  for (let round = 0; round < 20; round++) {
    const path = join(folder, `${round}.st`)
    const target = await openTarget(path)
    await target.write([Buffer.from('some bytes')])
    const committed = target.commit().then(
      () => true,
      () => false
    )
    void target.discard()
    await target.discard()
    t.notOk(existsSync(`${path}.partial`), 'the partial file is gone when it is over')
    t.equal(existsSync(path), await committed, 'and the target is there if it was committed before')
  }
  t.same(
    readdirSync(folder).filter((name) => name.endsWith('.partial')),
    []
  )
})
