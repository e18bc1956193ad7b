/**
 * Text that came from outside (a file name, a name in a snapshot) on one line, and harmless to a terminal: control
 * characters as in JSON, such as `\n` and `\u001b`, and so the marks that make a terminal show text in another order.
 */
export function printable(text: string): string {
  return text.replace(
    // eslint-disable-next-line no-control-regex -- control characters are what it is about
    /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu,
    (letter) => {
      const short = JSON.stringify(letter).slice(1, -1)
      return short.startsWith('\\') ? short : `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
    }
  )
}
