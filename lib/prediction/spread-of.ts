/** Samples are dealt out to so many parts, which should agree. */
export const partCount = 8

export const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

/**
 * Standard error of the mean of samples that were taken evenly, in order: by how much the means of every eighth of
 * them, from the first, the second and so on, differ. Neighbours are often alike, which even samples make use of and
 * the usual formula does not see.
 */
export function standardError(samples: readonly number[]): number {
  const count = Math.min(partCount, samples.length)
  if (count < 2) return 0
  const means = Array.from({ length: count }, (_, part) => mean(samples.filter((_, i) => i % count === part)))
  const centre = mean(means)
  const variance = means.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (count - 1)
  return Math.sqrt(variance / count)
}
