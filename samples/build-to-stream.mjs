// Builds a snapshot and sends it to a web server while it is made: no temporary file, and no more memory
// for a larger disk. Any Writable can be a target. When the build fails, the request is torn down, so that
// the server sees a broken upload and not a short one.
//
// usage: node samples/build-to-stream.mjs SOURCE URL
import { once } from 'node:events'
import { request } from 'node:http'
import { build } from 'hexz'

const [source, url] = process.argv.slice(2)

try {
  const upload = request(url, { method: 'PUT' })
  const [[response], totals] = await Promise.all([
    once(upload, 'response'),
    build({ source, target: upload, profile: 'eda', cdc: true })
  ])
  response.resume()
  console.log(`${totals.fileSize} bytes sent, answer ${response.statusCode}`)
  if (response.statusCode >= 300) process.exitCode = 1
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
