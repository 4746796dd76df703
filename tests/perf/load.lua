-- Rotates through people at every request and through access tokens at every tenth.
local paths, tokens, n = {}, {}, 0

function init(args)
  for line in io.lines(args[1]) do table.insert(paths, line) end
  for line in io.lines(args[2]) do table.insert(tokens, line) end
end

function request()
  n = n + 1
  local token = tokens[math.floor(n / 10) % #tokens + 1]
  return wrk.format("GET", paths[n % #paths + 1], { ["authorization"] = "Bearer " .. token, ["accept"] = "application/fhir+json" })
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %.3f %.3f %.3f %d\n", summary.requests, summary.duration,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000, summary.bytes))
end
