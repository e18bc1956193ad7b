/**
 * Builds one source on 1 core and on 2, and models more: which kind of thread ends the growth, and where.
 *
 *   node dist/bench/scaling.js SOURCE [--runs N] [build options…]
 */
import { basename } from 'node:path'
import { renderScaling } from './scale.js'

const [source, ...options] = process.argv.slice(2)
if (source === undefined) throw new Error('usage: node dist/bench/scaling.js SOURCE [--runs N] [options…]')
const runsAt = options.indexOf('--runs')
const runCount = runsAt === -1 ? 5 : Number(options.splice(runsAt, 2)[1])
process.stdout.write(`${await renderScaling(basename(source), source, options, runCount)}\n`)
