/** Whether a name is a URL that `openHttpBytes` takes. */
export function isHttpUrl(name: string): boolean {
  return /^https?:\/\//i.test(name)
}
