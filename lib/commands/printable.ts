import { printable } from '../printable.js'

export { printable } from '../printable.js'

/** A value as JSON that is as harmless: `JSON.stringify` leaves some of these characters as they are. */
export function jsonText(value: unknown, indent = 0): string {
  return JSON.stringify(value, undefined, indent).split('\n').map(printable).join('\n')
}

/** A template of which each value is made printable: for every line that holds a name. */
export function shown(parts: TemplateStringsArray, ...values: readonly (string | number)[]): string {
  return parts.map((part, i) => part + (i < values.length ? printable(String(values[i])) : '')).join('')
}
