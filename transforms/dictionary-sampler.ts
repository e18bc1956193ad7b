import type { Duplex } from 'node:stream'
import type { FilteredBatch } from '../lib/records.js'
import { stage } from './stage.js'

/**
 * FilteredBatch → FilteredBatch, unchanged: the place in the pipeline where a dictionary is trained from
 * what passes. Snapshots are built without one. Holds nothing.
 */
export function dictionarySampler(): Duplex {
  return stage<FilteredBatch, FilteredBatch>({ take: (batch) => [batch] })
}
